//! Cuts a CSV file into records without ever holding more than one, however long a line is or where a quote was left open.

use std::io::{BufRead, BufReader, Read};

/// A longer row is a bad row.
pub(super) const LONGEST: usize = 1 << 20;

/// One record, with its line break.
pub(super) struct Record {
    /// Where it begins.
    pub(super) line: u64,
    pub(super) bytes: Result<Vec<u8>, Broken>,
}

/// Why a record cannot be told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is longer than [`LONGEST`]. Reading goes on behind the next line break.
    TooLong,
    /// The file ends within its quotes: what is left of it may have been many rows.
    Unclosed,
}

pub(super) struct Records<R> {
    reader: BufReader<R>,
    line: u64,
}

/// Where a record is, as RFC 4180 has it: a quote counts at the start of a field, and ends it unless doubled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    Field,
    Quoted,
    QuoteInQuoted,
}

impl Place {
    /// `None` when the record ends.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Quoted, b'"') => Some(Self::QuoteInQuoted),
            (Self::Quoted, _) | (Self::FieldStart | Self::QuoteInQuoted, b'"') => Some(Self::Quoted),
            (_, b'\n' | b'\r') => None,
            (_, b',') => Some(Self::FieldStart),
            _ => Some(Self::Field),
        }
    }
}

impl<R: Read> Records<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: 1 }
    }

    /// The next record that is not empty; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Record>> {
        let (mut bytes, mut place, mut begun) = (Vec::new(), Some(Place::FieldStart), self.line);
        loop {
            let part = self.reader.fill_buf()?;
            if part.is_empty() {
                let bytes = if place == Some(Place::Quoted) { Err(Broken::Unclosed) } else { Ok(bytes) };
                let is_there = bytes.as_ref().map_or(true, |bytes| !bytes.trim_ascii().is_empty());
                return Ok(is_there.then_some(Record { line: begun, bytes }));
            }
            let mut taken = 0;
            for &byte in part {
                taken += 1;
                self.line += u64::from(byte == b'\n');
                place = place.and_then(|place| place.after(byte));
                bytes.push(byte);
                if place.is_none() || bytes.len() > LONGEST {
                    break;
                }
            }
            self.reader.consume(taken);
            if place.is_none() {
                if !bytes.trim_ascii().is_empty() {
                    return Ok(Some(Record { line: begun, bytes: Ok(bytes) }));
                }
                bytes.clear();
                (place, begun) = (Some(Place::FieldStart), self.line);
            } else if bytes.len() > LONGEST {
                if bytes.last() != Some(&b'\n') {
                    self.line += u64::from(self.reader.skip_until(b'\n')? > 0);
                }
                return Ok(Some(Record { line: begun, bytes: Err(Broken::TooLong) }));
            }
        }
    }
}
