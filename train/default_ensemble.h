/* What the ensemble of the default preset is made of: what train search chose (docs/search.md).
 * Data alone: another choice changes these two lines and nothing else. */
#ifndef MS_TRAIN_DEFAULT_ENSEMBLE_H
#define MS_TRAIN_DEFAULT_ENSEMBLE_H

/* Parts, as --ensemble takes them and as a search prints them: one net at least. Where malseq is
 * built without libxgboost, boosted is left out, and every run of the default says so. */
#define MS_DEFAULT_PARTS "recurrent+hybrid+boosted"
/* Nets of each shape among them; linear and boosted are always one, and weigh as much. */
#define MS_DEFAULT_NETS 1

#endif
