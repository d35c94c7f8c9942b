//! An in-process Nudj API with scriptable faults, for tests, demos and your own code
