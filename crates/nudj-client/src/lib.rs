//! A typed client for the Nudj API over the nudj-tower stack
