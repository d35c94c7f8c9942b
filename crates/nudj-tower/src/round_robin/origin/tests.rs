use proptest::prelude::*;

use super::*;

#[test]
fn reads_origins_into_one_form() {
    for (text, name) in [
        ("https://acme.nudj.cx", "https://acme.nudj.cx"),
        ("https://acme.nudj.cx/", "https://acme.nudj.cx"),
        ("HTTPS://ACME.nudj.cx:443", "https://acme.nudj.cx"),
        ("http://acme.nudj.cx:80/", "http://acme.nudj.cx"),
        ("http://acme.nudj.cx:443", "http://acme.nudj.cx:443"),
        ("https://acme.nudj.cx/Prefix/x//", "https://acme.nudj.cx/Prefix/x"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ] {
        let origin = Origin::parse(text).unwrap();
        assert_eq!(&**origin.name(), name, "{text}");
        assert_eq!(Origin::parse(name).unwrap(), origin, "its name says it all");
    }
}

#[test]
fn says_what_is_wrong() {
    for (text, word) in [
        ("", "not a URI"),
        ("https://a b", "not a URI"),
        ("acme.nudj.cx", "https://"),
        ("//acme.nudj.cx", "https://"),
        ("/api", "https://"),
        ("ftp://acme.nudj.cx", "https://"),
        ("https://", "not a URI"),
        ("https://:80", "host"),
        ("https://[::g]", "host"),
        ("https://acme.nudj.cx:", "port"),
        ("https://acme.nudj.cx:0", "port"),
        ("https://acme.nudj.cx:99999", "port"),
        ("https://acme.nudj.cx:+80", "port"),
        ("https://me:secret@acme.nudj.cx", "user name"),
        ("https://acme.nudj.cx/?a=secret", "query"),
        ("https://acme.nudj.cx?", "query"),
        ("https://acme.nudj.cx/#top", "fragment"),
        ("https://acme.nudj.cx/a/../b", ".."),
    ] {
        let error = Origin::parse(text).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{text}: {error:?}");
    }
}

#[test]
fn puts_itself_in_front_of_the_path() {
    for (origin, uri, whole) in [
        ("https://a.cx", "/users?x=1", "https://a.cx/users?x=1"),
        ("https://a.cx", "http://evil.cx:1/users", "https://a.cx/users"),
        ("https://a.cx", "http://evil.cx", "https://a.cx/"),
        ("https://a.cx/p", "/users/a%2Fb", "https://a.cx/p/users/a%2Fb"),
        ("https://a.cx/p", "http://evil.cx", "https://a.cx/p/"),
        ("https://a.cx/p", "http://evil.cx?x=1", "https://a.cx/p/?x=1"),
        ("https://a.cx/p", "//double", "https://a.cx/p//double"),
    ] {
        assert_eq!(Origin::parse(origin).unwrap().locate(uri.parse().unwrap()).unwrap(), whole);
    }
}

#[test]
fn a_path_without_a_prefix_is_not_copied() {
    let uri: Uri = "/users/0123456789".parse().unwrap();
    let before = uri.path().as_ptr();
    assert_eq!(Origin::parse("https://a.cx").unwrap().locate(uri).unwrap().path().as_ptr(), before);
}

#[test]
fn knows_this_machine_and_what_is_readable_on_the_way() {
    for (text, plain, loopback) in [
        ("http://localhost:1", true, true),
        ("http://api.localhost", true, true),
        ("http://127.9.9.9", true, true),
        ("http://[::1]", true, true),
        ("https://[::ffff:127.0.0.1]", false, true),
        ("https://localhost.evil.cx", false, false),
        ("https://127.0.0.1.evil.cx", false, false),
        ("http://10.0.0.1", true, false),
    ] {
        let origin = Origin::parse(text).unwrap();
        assert_eq!((origin.is_plain(), origin.is_loopback()), (plain, loopback), "{text}");
    }
    assert_eq!(Origin::parse("https://a.cx").unwrap().port(), 443);
    assert_eq!(Origin::parse("https://a.cx:8443").unwrap().port(), 8443);
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,60}", path in "/[!-~]{0,40}") {
        let _ = Origin::parse(&text);
        if let (Ok(origin), Ok(uri)) = (Origin::parse(&format!("https://{text}")), path.parse::<Uri>()) {
            let whole = origin.locate(uri.clone()).unwrap();
            prop_assert_eq!(whole.authority().unwrap().host(), origin.host());
            prop_assert!(whole.path().ends_with(uri.path()));
            prop_assert_eq!(whole.query(), uri.query());
        }
    }
}
