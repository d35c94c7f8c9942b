//! Create here, create at Nudj, store Nudj's id: every step survives a crash.
