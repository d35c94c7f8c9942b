//! Changes of a database's tables, mapped to calls.
