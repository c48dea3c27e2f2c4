-- Version 3: what a server gave to ask with the next time.

-- Of the answer that was last taken in whole: its ETag, else its Last-Modified; the next request is conditional on it.
ALTER TABLE origin ADD COLUMN validator TEXT;
