//! CSV and NDJSON, row by row: a bad row is one line of the report and holds up no other.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use nudj::{
    client::{Error, model::NewUser},
    sync::{BoxError, batch::Row},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::records::{Broken, LONGEST, Record, Records};

pub(crate) const COLUMNS: [&str; 4] = ["email", "username", "externalUserId", "displayName"];

/// A file, looked through once.
pub(crate) struct Input {
    file: File,
    /// Tells this input from another: a checkpoint belongs to one, on its way to one destination.
    pub(crate) fingerprint: String,
    /// About how many rows there are: a field may hold line breaks.
    pub(crate) about: u64,
    json: bool,
}

pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row<NewUser>, BoxError>> + Send>;

impl Input {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::look_through(path).map_err(|error| Error::usage("FILE", format!("{}: {error}", path.display())))
    }

    fn look_through(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut hash, mut lines, mut first, mut last) = (Sha256::new(), 0_u64, None, b'\n');
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            let part = buffer.get(..read).unwrap_or_default();
            let Some(&end) = part.last() else { break };
            last = end;
            hash.update(part);
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            let mut text = part.strip_prefix(b"\xef\xbb\xbf").unwrap_or(part).iter();
            first = first.or_else(|| text.find(|byte| !byte.is_ascii_whitespace()).copied());
        }
        file.seek(SeekFrom::Start(0))?;
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let json = first == Some(b'{');
        let about = lines + u64::from(last != b'\n');
        let about = if json { about } else { about.saturating_sub(1) };
        Ok(Self { file, fingerprint: format!("sha256:{digest}"), about, json })
    }

    /// The rows, in order.
    pub(crate) fn rows(self) -> Result<Rows, Error> {
        if self.json { Ok(Box::new(Lines::new(self.file))) } else { csv_rows(self.file) }
    }
}

fn csv_rows(file: File) -> Result<Rows, Error> {
    let first_line = |problem: String| Error::usage("FILE", format!("its first line {problem}"));
    let mut records = Records::new(file);
    let header = match records.next() {
        Ok(Some(Record { bytes: Ok(bytes), .. })) => {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            fields(text).map_err(|problem| first_line(problem.to_owned()))?
        }
        Ok(Some(Record { bytes: Err(Broken::TooLong), .. })) => {
            return Err(first_line(format!("is longer than {LONGEST} bytes")));
        }
        Ok(Some(Record { bytes: Err(Broken::Unclosed), .. })) => return Err(first_line(UNCLOSED.to_owned())),
        Ok(None) => Vec::new(),
        Err(error) => return Err(first_line(format!("cannot be read: {error}"))),
    };
    let mut columns = Vec::new();
    for name in header {
        let known = COLUMNS.iter().find(|column| **column == name);
        let column = known.ok_or_else(|| {
            first_line(format!("has the column `{}`; the columns are {}", name.escape_debug(), COLUMNS.join(", ")))
        })?;
        if columns.contains(column) {
            return Err(first_line(format!("has the column `{name}` twice")));
        }
        columns.push(*column);
    }
    if !columns.iter().any(|column| matches!(*column, "email" | "externalUserId")) {
        return Err(first_line("names neither the column `email` nor `externalUserId`".to_owned()));
    }
    Ok(Box::new(std::iter::from_fn(move || match records.next() {
        Ok(record) => record.map(|record| Ok(csv_row(&columns, &record))),
        Err(error) => Some(Err(error.into())),
    })))
}

fn csv_row(columns: &[&'static str], record: &Record) -> Row<NewUser> {
    let invalid = |problem: String| Row::invalid(record.line, "row", problem);
    let bytes = match &record.bytes {
        Ok(bytes) => bytes,
        Err(Broken::TooLong) => return invalid(format!("is longer than {LONGEST} bytes; was a quote left open?")),
        Err(Broken::Unclosed) => return invalid(UNCLOSED.to_owned()),
    };
    match fields(bytes) {
        Err(problem) => invalid(problem.to_owned()),
        Ok(fields) if fields.len() != columns.len() => {
            invalid(format!("has {} fields, not {}", fields.len(), columns.len()))
        }
        Ok(fields) => {
            let fields = columns.iter().copied().zip(fields);
            row(record.line, fields.filter(|(_, text)| !text.is_empty()))
        }
    }
}

const UNCLOSED: &str = "opens a quote that is closed nowhere in the file; all that follows was read as part of it";

/// Of one record.
fn fields(record: &[u8]) -> Result<Vec<String>, &'static str> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader =
        reader.has_headers(false).trim(csv::Trim::All).buffer_capacity(record.len().max(1)).from_reader(record);
    match reader.records().next() {
        Some(Ok(fields)) => Ok(fields.iter().map(str::to_owned).collect()),
        Some(Err(error)) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => Err("is not UTF-8"),
        Some(Err(_)) => Err("cannot be read"),
        None => Ok(Vec::new()),
    }
}

/// One JSON object per line.
struct Lines {
    reader: BufReader<File>,
    line: u64,
}

impl Lines {
    fn new(file: File) -> Self {
        Self { reader: BufReader::new(file), line: 0 }
    }
}

impl Iterator for Lines {
    type Item = Result<Row<NewUser>, BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut text = Vec::new();
            match (&mut self.reader).take(LONGEST as u64).read_until(b'\n', &mut text) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(error.into())),
            }
            if text.len() == LONGEST && !text.ends_with(b"\n") {
                return match self.reader.skip_until(b'\n') {
                    Ok(_) => Some(Ok(Row::invalid(self.line, "row", format!("is longer than {LONGEST} bytes")))),
                    Err(error) => Some(Err(error.into())),
                };
            }
            let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii();
            if !text.is_empty() {
                return Some(Ok(json_row(self.line, text)));
            }
        }
    }
}

fn json_row(line: u64, text: &[u8]) -> Row<NewUser> {
    let object = match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Row::invalid(line, "row", "is not a JSON object"),
        Err(error) => return Row::invalid(line, "row", format!("is not JSON: column {}", error.column())),
    };
    let mut fields = Vec::new();
    for (name, value) in object {
        let Some(column) = COLUMNS.into_iter().find(|column| *column == name) else {
            return Row::invalid(line, name, format!("is no field; the fields are {}", COLUMNS.join(", ")));
        };
        match value {
            Value::String(text) if !text.is_empty() => fields.push((column, text)),
            Value::String(_) | Value::Null => {}
            _ => return Row::invalid(line, name, "must be a string"),
        }
    }
    row(line, fields)
}

fn row(line: u64, fields: impl IntoIterator<Item = (&'static str, String)>) -> Row<NewUser> {
    let mut user = NewUser::default();
    for (column, text) in fields {
        let field = match column {
            "email" => &mut user.email,
            "username" => &mut user.username,
            "externalUserId" => &mut user.external_user_id,
            _ => &mut user.display_name,
        };
        *field = Some(text);
    }
    match &user.email {
        Some(email) if !looks_like_email(email) => Row::invalid(line, "email", "is not an email address"),
        None if user.external_user_id.is_none() => {
            Row::invalid(line, "email", "is missing, and there is no externalUserId either")
        }
        _ => Row::new(line, user),
    }
}

/// What no server takes is told before it is sent; the rest is the server's to judge.
fn looks_like_email(text: &str) -> bool {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    parts.is_some_and(|(_, host)| !host.contains('@')) && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (u64, Result<NewUser, (String, String)>);

    fn read(text: &str) -> Vec<Found> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, text).unwrap();
        let rows = Input::open(&path).unwrap().rows().unwrap();
        rows.map(|row| row.unwrap()).map(|row| (row.line, row.record)).collect()
    }

    #[test]
    fn csv_columns_come_in_any_order_and_bad_rows_have_line_and_field() {
        let rows = read("\u{feff}externalUserId, email\n1,a@b.c\n2,nonsense\n3\n,d@e.f\n\"4\n5\",g@h.i\n,\n6,j@k.l\n");
        let found: Vec<_> =
            rows.iter().map(|(line, row)| (*line, row.as_ref().map_err(|(field, _)| field.as_str()).is_ok())).collect();
        assert_eq!(found, [(2, true), (3, false), (4, false), (5, true), (6, true), (8, false), (9, true)]);
        assert_eq!(rows[0].1.as_ref().unwrap().external_user_id.as_deref(), Some("1"));
        assert_eq!(rows[1].1.as_ref().unwrap_err().0, "email");
        assert_eq!(rows[3].1.as_ref().unwrap().external_user_id, None, "an empty field is none");
    }

    #[test]
    fn a_strange_file_costs_its_own_rows_and_no_other() {
        let long = "x".repeat(10 << 20);
        let text = format!(
            "\u{feff}email,displayName\r\na@b.c,\"two\r\nlines, \"\"quoted\"\"\"\r\n{long},\r\n{long}\r\nd@e.f,5\" disk\rg@h.i,\r\n\
             j@k.l,\"never closed\nm@n.o,lost\n{long}\np@q.r,after\n"
        );
        let rows = read(&text);
        let found: Vec<_> = rows
            .iter()
            .map(|(line, row)| {
                (*line, row.as_ref().map(|user| user.email.clone().unwrap()).map_err(|(field, _)| field.clone()))
            })
            .collect();
        let (good, bad) = (|email: &str| Ok(email.to_owned()), || Err("row".to_owned()));
        assert_eq!(
            found,
            [
                (2, good("a@b.c")),
                (4, bad()),
                (5, bad()),
                (6, good("d@e.f")),
                (6, good("g@h.i")),
                (7, bad()),
                (10, good("p@q.r"))
            ]
        );
        assert_eq!(rows[0].1.as_ref().unwrap().display_name.as_deref(), Some("two\r\nlines, \"quoted\""));
        assert!(rows[5].1.as_ref().unwrap_err().1.contains("was a quote left open?"));
    }

    #[test]
    fn spaces_at_the_end_are_no_row_with_a_line_break_or_without() {
        for end in ["", "\n", "  ", "\n  ", "\n \t\n  "] {
            let rows = read(&format!("email\na@b.c{end}"));
            assert_eq!(rows.len(), 1, "{end:?}");
            assert!(rows[0].1.is_ok(), "{end:?}");
        }
    }

    #[test]
    fn a_quote_that_is_closed_nowhere_is_said_and_makes_no_user_of_the_rest() {
        let rows = read("email,displayName\na@b.c,one\nd@e.f,\"Ada\nm@n.o,Bob\np@q.r,Eve\n");
        assert_eq!(rows.len(), 2);
        assert!(rows[0].1.is_ok());
        let (line, Err((field, problem))) = &rows[1] else { panic!("a user with the others' rows in the name") };
        assert_eq!((*line, field.as_str(), problem.as_str()), (3, "row", UNCLOSED));
        let closed_by_the_end = read("email,displayName\na@b.c,\"one\"");
        assert_eq!(closed_by_the_end[0].1.as_ref().unwrap().display_name.as_deref(), Some("one"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.csv");
        std::fs::write(&path, "email,\"displayName\na@b.c,one\n").unwrap();
        let error = Input::open(&path).unwrap().rows().err().unwrap().to_string();
        assert!(error.contains("FILE") && error.contains("quote"), "{error}");
    }

    #[test]
    fn latin_1_is_told_by_line_and_in_the_first_line_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.csv");
        std::fs::write(&path, b"email,displayName\na@b.c,Ren\xe9\nd@e.f,Ren\xc3\xa9\n").unwrap();
        let rows: Vec<_> = Input::open(&path).unwrap().rows().unwrap().map(|row| row.unwrap()).collect();
        assert_eq!(rows[0].record.as_ref().unwrap_err().1, "is not UTF-8");
        assert_eq!(rows[1].record.as_ref().unwrap().display_name.as_deref(), Some("René"));
        for (header, said) in [
            (&b"email,Pr\xe9nom\n"[..], "is not UTF-8"),
            (b"\xff\xfee\0m\0a\0i\0l\0\n\0", "is not UTF-8"),
            (b"", "neither"),
            (b"username,displayName\n", "neither"),
            (b"email;externalUserId\n", "email;externalUserId"),
        ] {
            std::fs::write(&path, header).unwrap();
            let error = Input::open(&path).unwrap().rows().err().unwrap().to_string();
            assert!(error.contains("FILE") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn ndjson_is_known_by_its_first_byte() {
        let rows = read(
            "\n{\"email\":\"a@b.c\",\"username\":null}\n{\"email\":1}\n{\"mail\":\"x\"}\nnonsense\n[]\n{\"externalUserId\":\"7\"}",
        );
        let bad: Vec<_> = rows.iter().filter_map(|(line, row)| Some((*line, row.as_ref().err()?.0.as_str()))).collect();
        assert_eq!(bad, [(3, "email"), (4, "mail"), (5, "row"), (6, "row")]);
        assert_eq!(rows.len(), 6);
    }

    #[test]
    fn a_column_that_is_unknown_or_there_twice_is_named_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.csv");
        for (header, name) in [("email,phone\n", "phone"), ("email,email\n", "email")] {
            std::fs::write(&path, header).unwrap();
            let error = Input::open(&path).unwrap().rows().err().unwrap().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(Input::open(&folder.path().join("none")).is_err());
    }
}
