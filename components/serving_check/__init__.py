"""ServingCheck: before the push, a fresh process loads the export and answers requests, good ones
and bad ones."""
