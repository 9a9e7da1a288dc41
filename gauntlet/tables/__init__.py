"""What a person sees at the end of a run (`run`) or of an evaluation (`evaluation`)."""
