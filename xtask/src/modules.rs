//! Enough of Rust's syntax to find out which files a source file names as its modules, and which of
//! its lines are test code.

use std::path::{Path, PathBuf};

/// A word, a string literal's content or a single sign, and its line (from 1).
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The files that `file` may name as parts of itself: `mod x;` gives two candidates, `#[path]` and
/// `include!` one. `is_root` is true for a target's first file, which looks beside itself.
pub(crate) fn named_files(file: &Path, source: &str, is_root: bool) -> Vec<PathBuf> {
    let tokens: Vec<Token> = tokens(source).into_iter().map(|(token, _)| token).collect();
    let beside = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let own = match file.file_stem() {
        Some(stem) if !is_root && stem != "mod" => beside.join(stem),
        _ => beside.clone(),
    };
    let mut found = Vec::new();
    // One entry per open brace; the name where it opens a module.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut path: Option<String> = None;
    for (at, token) in tokens.iter().enumerate() {
        let next = |steps: usize| tokens.get(at + steps);
        let inside: Vec<&String> = braces.iter().flatten().collect();
        let folder = inside.iter().fold(own.clone(), |folder, name| folder.join(name));
        match token {
            Token::Word(word) if word == "mod" => {
                if let (Some(Token::Word(name)), Some(Token::Sign(';'))) = (next(1), next(2)) {
                    match path.take() {
                        Some(path) if inside.is_empty() => found.push(beside.join(path)),
                        Some(path) => found.push(folder.join(path)),
                        None => {
                            found.push(folder.join(format!("{name}.rs")));
                            found.push(folder.join(name).join("mod.rs"));
                        }
                    }
                }
            }
            Token::Word(word) if word == "path" => {
                let starts_attribute = at >= 2
                    && tokens.get(at - 1) == Some(&Token::Sign('['))
                    && tokens.get(at - 2) == Some(&Token::Sign('#'));
                if let (true, Some(Token::Sign('=')), Some(Token::Text(text))) = (starts_attribute, next(1), next(2)) {
                    path = Some(text.clone());
                }
            }
            Token::Word(word) if word == "include" => {
                if let (Some(Token::Sign('!')), Some(Token::Text(text))) = (next(1), next(3)) {
                    found.push(beside.join(text));
                }
            }
            Token::Sign('{') => {
                let name = at.checked_sub(2).and_then(|from| tokens.get(from..at));
                braces.push(match name {
                    Some([Token::Word(keyword), Token::Word(name)]) if keyword == "mod" => {
                        Some(path.take().unwrap_or_else(|| name.clone()))
                    }
                    _ => None,
                });
                path = None;
            }
            Token::Sign('}') => {
                braces.pop();
                path = None;
            }
            Token::Sign(';') => path = None,
            _ => {}
        }
    }
    found
}

/// How many lines are neither blank nor part of an item under `#[cfg(test)]`.
pub(crate) fn production_lines(source: &str) -> usize {
    let tokens = tokens(source);
    let mut is_test = vec![false; source.lines().count() + 1];
    let mut at = 0;
    while at < tokens.len() {
        if is_cfg_test(tokens.get(at..).unwrap_or_default()) {
            let last = item_end(&tokens, at + 7);
            let line = |index: usize| tokens.get(index).map_or(is_test.len(), |token| token.1);
            let (from, to) = (line(at), line(last));
            for line in is_test.iter_mut().take(to.saturating_add(1)).skip(from) {
                *line = true;
            }
            at = last;
        }
        at += 1;
    }
    let counts =
        |(index, line): (usize, &str)| !line.trim().is_empty() && !is_test.get(index + 1).copied().unwrap_or(false);
    source.lines().enumerate().filter(|&line| counts(line)).count()
}

/// Whether the source has a function marked as a test: `#[test]`, `#[tokio::test(…)]`.
pub(crate) fn has_tests(source: &str) -> bool {
    let tokens = tokens(source);
    let mut rest = tokens.as_slice();
    while let Some((token, tail)) = rest.split_first() {
        rest = tail;
        if token.0 != Token::Sign('#') || tail.first().map(|t| &t.0) != Some(&Token::Sign('[')) {
            continue;
        }
        let path: Vec<&Token> = tail
            .iter()
            .skip(1)
            .map(|(token, _)| token)
            .take_while(|token| matches!(token, Token::Word(_) | Token::Sign(':')))
            .collect();
        if path.last().is_some_and(|last| matches!(last, Token::Word(word) if word == "test")) {
            return true;
        }
    }
    false
}

fn is_cfg_test(tokens: &[(Token, usize)]) -> bool {
    let want = ["#", "[", "cfg", "(", "test", ")", "]"];
    tokens.len() >= want.len()
        && tokens.iter().zip(want).all(|((token, _), want)| match token {
            Token::Word(word) => word == want,
            Token::Sign(sign) => want == sign.to_string(),
            Token::Text(_) => false,
        })
}

/// The index of the token that ends the item starting at `from`: its `;` or its closing brace.
fn item_end(tokens: &[(Token, usize)], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, (token, _)) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign(sign @ ('}' | ')' | ']')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *sign == '}' {
                    return index;
                }
            }
            Token::Sign(';') if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len()
}

fn tokens(source: &str) -> Vec<(Token, usize)> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (token, length) = next_token(first, rest);
        let (taken, tail) = rest.split_at(length);
        if let Some(token) = token {
            found.push((token, line));
        }
        line += taken.matches('\n').count();
        rest = tail;
    }
    found
}

/// The token at the start of `rest`, if it is one, and how many bytes to go on by.
fn next_token(first: char, rest: &str) -> (Option<Token>, usize) {
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, block_comment(rest));
    }
    if let Some((text, length)) = raw_string(rest) {
        return (Some(Token::Text(text)), length);
    }
    if first == '"' {
        let (text, length) = string(rest);
        return (Some(Token::Text(text)), length);
    }
    if first == '\'' {
        return (None, character(rest));
    }
    if is_word(first) {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        // The prefix of b"…" and c"…" is no word of its own, which nobody here minds.
        return (Some(Token::Word(word.to_owned())), length);
    }
    let token = (!first.is_whitespace()).then_some(Token::Sign(first));
    (token, first.len_utf8())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, and the same after `b` or `c`.
fn raw_string(rest: &str) -> Option<(String, usize)> {
    let after = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let body = after.trim_start_matches('#');
    let hashes = after.len() - body.len();
    let body = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).unwrap_or(body.len());
    let text = body.get(..length)?.to_owned();
    let whole = (rest.len() - body.len() + length + end.len()).min(rest.len());
    Some((text, whole))
}

fn string(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return (text, at + 1),
            '\\' if !escaped => escaped = true,
            _ => {
                text.push(c);
                escaped = false;
            }
        }
    }
    (text, rest.len())
}

/// A character literal, or just the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((_, _))) => {
            // The escaped character itself may be a quote, so it is skipped.
            let after = chars.find(|&(_, c)| c == '\'');
            after.map_or(rest.len(), |(at, _)| at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, source: &str, is_root: bool) -> Vec<String> {
        named_files(Path::new(file), source, is_root).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_module_is_beside_a_root_and_below_any_other_file() {
        assert_eq!(named("s/lib.rs", "mod a;", true), ["s/a.rs", "s/a/mod.rs"]);
        assert_eq!(named("s/b/mod.rs", "pub mod a;", false), ["s/b/a.rs", "s/b/a/mod.rs"]);
        assert_eq!(named("s/b.rs", "mod a;", false), ["s/b/a.rs", "s/b/a/mod.rs"]);
    }

    #[test]
    fn a_module_inside_an_inline_module_is_one_folder_down() {
        let source = "fn f() { if x {} } mod a { fn g() {} mod b; } mod c;";
        assert_eq!(named("s/lib.rs", source, true), ["s/a/b.rs", "s/a/b/mod.rs", "s/c.rs", "s/c/mod.rs"]);
    }

    #[test]
    fn a_path_attribute_counts_for_its_own_item_only() {
        let source = "#[cfg(test)] #[path = \"x/y.rs\"] mod a; #[path = \"z\"] use b; mod c;";
        assert_eq!(named("s/b.rs", source, false), ["s/x/y.rs", "s/b/c.rs", "s/b/c/mod.rs"]);
    }

    #[test]
    fn what_stands_in_comments_and_strings_is_no_module() {
        let source = r###"
            // mod a;
            /* /* mod b; */ mod c; */
            const S: &str = "mod d; \" mod e;";
            const R: &str = r#"mod f; " mod g;"#;
            const C: char = '"'; const D: char = '\''; fn f<'x>(_: &'x str) {}
            mod real;
        "###;
        assert_eq!(named("s/lib.rs", source, true), ["s/real.rs", "s/real/mod.rs"]);
    }

    #[test]
    fn an_included_file_is_named() {
        assert_eq!(named("s/a.rs", "include!(\"b/c.rs\");", false), ["s/b/c.rs"]);
    }

    #[test]
    fn lines_of_test_modules_and_blank_lines_are_not_production() {
        let source = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn t() { let x = [1; 2]; }\n}\nfn b() {}\n";
        assert_eq!(production_lines(source), 2);
        assert_eq!(production_lines("#[cfg(test)]\nmod tests;\nfn b() {}\n"), 1);
        assert_eq!(production_lines("#[cfg(feature = \"test\")]\nfn b() {}\n"), 2);
    }

    #[test]
    fn tests_are_seen_by_their_attribute() {
        assert!(has_tests("#[test] fn a() {}"));
        assert!(has_tests("#[tokio::test(start_paused = true)] async fn a() {}"));
        assert!(!has_tests("#[cfg(test)] mod tests;"));
        assert!(!has_tests("// #[test]\nfn test(x: [u8; 2]) { test() }"));
    }

    #[test]
    fn any_text_ends() {
        for source in ["'", "\"", "r#\"", "/*", "'\\", "é'", "b", "r#mod", "}", "#[path = "] {
            let _ = (named("a.rs", source, true), production_lines(source), has_tests(source));
        }
    }
}
