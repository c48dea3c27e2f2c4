/* What the ensemble of the default preset is made of: decided by hand over two searches, and
 * without trees what train search chose (docs/search.md). Data alone: another choice changes these
 * lines and nothing else. */
#ifndef MS_TRAIN_DEFAULT_ENSEMBLE_H
#define MS_TRAIN_DEFAULT_ENSEMBLE_H

/* Parts, as --ensemble takes them and as a search prints them: one net at least. The second line is
 * for builds without libxgboost, which cannot grow trees: every run of it says so. */
#define MS_DEFAULT_PARTS "recurrent+hybrid+boosted"
#define MS_DEFAULT_PARTS_WITHOUT_TREES "recurrent+hybrid+pooled+pooled-hybrid+linear"
/* Nets of each shape among them; linear and boosted are always one, and weigh as much. */
#define MS_DEFAULT_NETS 1

#endif
