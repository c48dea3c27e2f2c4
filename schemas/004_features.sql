-- Static features of samples (features.schema.json). Samples that were taken in before there were any, or under an older version of
-- them (whose migration sets the column to NULL), are found without reading the others.
CREATE INDEX sample_without_features ON sample (id) WHERE vaulted = 1 AND features IS NULL AND sha256 IS NOT NULL;
