//! Many records at once, with a report for each and a checkpoint to go on from.
