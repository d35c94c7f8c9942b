//! The messages of `pgoutput`, protocol version 1. Bytes in, values out.

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pgoutput message cannot be read: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// A table as the stream describes it before its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// What a row is known by: `d` the primary key, `i` an index, `f` the whole row, `n` nothing.
    pub(super) identity: u8,
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Part of what a row is known by in updates and deletions.
    pub(super) is_key: bool,
    pub(super) name: String,
    pub(super) kind: u32,
}

/// A column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// Stored outside the row and not touched by the change, so not told.
    Unchanged,
    Text(&'a [u8]),
}

/// The row before an update or a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Old<'a> {
    /// The key's columns; the others are null here, whatever they were.
    Key(Vec<Cell<'a>>),
    Full(Vec<Cell<'a>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Begin {
        /// Where its commit is.
        commit: u64,
    },
    Commit {
        /// Behind the transaction.
        end: u64,
    },
    Relation(Relation),
    /// A type that is not PostgreSQL's own: its name, or for a domain that of the type that it is made of.
    Type {
        id: u32,
        /// Empty for PostgreSQL's own.
        schema: String,
        name: String,
    },
    Insert {
        relation: u32,
        new: Vec<Cell<'a>>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Vec<Cell<'a>>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Origins, messages: nothing that is a row.
    Other,
}

impl<'a> Message<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let message = match rest.byte()? {
            b'B' => {
                let commit = rest.u64()?;
                rest.take(12)?;
                Self::Begin { commit }
            }
            b'C' => {
                rest.take(9)?;
                let end = rest.u64()?;
                rest.take(8)?;
                Self::Commit { end }
            }
            b'R' => Self::Relation(rest.relation()?),
            b'Y' => Self::Type { id: rest.u32()?, schema: rest.text()?, name: rest.text()? },
            b'I' => {
                let relation = rest.u32()?;
                rest.expect(b'N')?;
                Self::Insert { relation, new: rest.row()? }
            }
            b'U' => {
                let relation = rest.u32()?;
                let old = match rest.byte()? {
                    b'N' => None,
                    kind => {
                        let old = rest.old(kind)?;
                        rest.expect(b'N')?;
                        Some(old)
                    }
                };
                Self::Update { relation, old, new: rest.row()? }
            }
            b'D' => {
                let (relation, kind) = (rest.u32()?, rest.byte()?);
                Self::Delete { relation, old: rest.old(kind)? }
            }
            b'T' => {
                let count = rest.u32()?;
                rest.byte()?;
                // Not room for as many as it says: it may say anything.
                Self::Truncate { relations: (0..count).map(|_| rest.u32()).collect::<Result<_, _>>()? }
            }
            b'O' | b'M' => return Ok(Self::Other),
            _ => return Err(Malformed("its kind is unknown")),
        };
        if rest.0.is_empty() { Ok(message) } else { Err(Malformed("it is longer than what it holds")) }
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.byte()? == byte { Ok(()) } else { Err(Malformed("a row is missing")) }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed("a name does not end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn count(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn relation(&mut self) -> Result<Relation, Malformed> {
        let (id, schema, name) = (self.u32()?, self.text()?, self.text()?);
        let identity = self.byte()?;
        let count = self.count()?;
        let columns = (0..count).map(|_| {
            let (flags, name, kind) = (self.byte()?, self.text()?, self.u32()?);
            self.take(4)?;
            Ok(Column { is_key: flags & 1 == 1, name, kind })
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Relation { id, schema, name, identity, columns })
    }

    fn old(&mut self, kind: u8) -> Result<Old<'a>, Malformed> {
        match kind {
            b'K' => self.row().map(Old::Key),
            b'O' => self.row().map(Old::Full),
            _ => Err(Malformed("a row is of unknown kind")),
        }
    }

    fn row(&mut self) -> Result<Vec<Cell<'a>>, Malformed> {
        let count = self.count()?;
        let cells = (0..count).map(|_| match self.byte()? {
            b'n' => Ok(Cell::Null),
            b'u' => Ok(Cell::Unchanged),
            b't' => {
                let length = usize::try_from(self.u32()?).map_err(|_| Malformed("a column is too long"))?;
                self.take(length).map(Cell::Text)
            }
            _ => Err(Malformed("a column is of unknown kind")),
        });
        cells.collect()
    }
}

#[cfg(test)]
mod tests;
