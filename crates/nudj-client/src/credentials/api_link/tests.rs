use jsonwebtoken::{DecodingKey, Validation, decode, errors::ErrorKind};
use serde_json::Value;

use super::*;

const SECRET: &str = "canary-client-secret-of-32-bytes-and-more";

fn link() -> ApiLink {
    ApiLink::new("https://acme.nudj.cx/", "client 1&", SECRET.to_owned(), &HttpConfig::default()).unwrap()
}

fn read(token: &SecretString, secret: &str, algorithm: Algorithm) -> Result<Value, ErrorKind> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    let key = DecodingKey::from_secret(secret.as_bytes());
    decode(token.expose_secret(), &key, &validation).map(|token| token.claims).map_err(|error| error.into_kind())
}

#[test]
fn a_token_verifies_under_its_secret_and_algorithm_alone() {
    let user = LinkUser {
        email: Some("ada@example.org".into()),
        username: Some("ada".into()),
        anonymous_account_id: Some("anon-1".into()),
        ..LinkUser::new("customer-42")
    };
    for (chosen, expected, other) in [
        (LinkAlgorithm::Hs256, Algorithm::HS256, Algorithm::HS512),
        (LinkAlgorithm::Hs384, Algorithm::HS384, Algorithm::HS256),
        (LinkAlgorithm::Hs512, Algorithm::HS512, Algorithm::HS384),
    ] {
        let token = link().algorithm(chosen).token(&user).unwrap();
        let claims = read(&token, SECRET, expected).unwrap();
        for (name, value) in [
            ("userId", "customer-42"),
            ("locale", "en"),
            ("email", "ada@example.org"),
            ("username", "ada"),
            ("anonymousAccountId", "anon-1"),
        ] {
            assert_eq!(claims[name], value);
        }
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
        assert_eq!(read(&token, "another", expected), Err(ErrorKind::InvalidSignature));
        assert_eq!(read(&token, SECRET, other), Err(ErrorKind::InvalidAlgorithm));
    }
    let claims = read(&link().token(&LinkUser::new("u")).unwrap(), SECRET, Algorithm::HS256).unwrap();
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["exp", "iat", "locale", "userId"], "what is not known is left out");
}

#[test]
fn a_token_that_has_expired_is_refused_and_one_second_before_it_is_not() {
    let at = |age: u64| wall_clock() - Duration::from_secs(age);
    let short = link().lifetime(Duration::from_secs(60));
    let user = LinkUser::new("u");
    let fresh = short.token_at(&user, at(30)).unwrap();
    assert!(read(&fresh, SECRET, Algorithm::HS256).is_ok());
    let old = short.token_at(&user, at(62)).unwrap();
    assert_eq!(read(&old, SECRET, Algorithm::HS256), Err(ErrorKind::ExpiredSignature));
    for (asked, given) in [(Duration::ZERO, 1), (Duration::from_millis(1500), 1), (Duration::MAX, 86400)] {
        let claims = read(&link().lifetime(asked).token(&user).unwrap(), SECRET, Algorithm::HS256).unwrap();
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), given);
    }
    assert!(short.token_at(&user, SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_ok(), "a clock before 1970");
}

#[test]
fn what_nudj_could_not_use_is_refused() {
    for user in [LinkUser::new(""), LinkUser { locale: String::new(), ..LinkUser::new("u") }] {
        assert_eq!(link().token(&user).unwrap_err().kind().name(), "config");
    }
    let strict = HttpConfig::default();
    for (domain, id, secret) in [
        ("http://acme.nudj.cx", "id", "secret"),
        ("acme", "id", "secret"),
        ("https://acme.nudj.cx", "", "secret"),
        ("https://acme.nudj.cx", "id", ""),
    ] {
        assert!(ApiLink::new(domain, id, secret.to_owned(), &strict).is_err(), "{domain} {id} {secret}");
    }
}

#[test]
fn a_link_is_encoded_and_leads_to_no_other_site() {
    let user = LinkUser::new("u");
    let url = link().url(&user, Some("/a?b=c&d")).unwrap();
    let (start, query) = url.expose_secret().split_once('?').unwrap();
    assert_eq!(start, "https://acme.nudj.cx/api/link");
    assert!(query.ends_with("&clientId=client%201%26&callbackPath=%2Fa%3Fb%3Dc%26d"), "{query}");
    for bad in ["", "a", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "/a\nb"] {
        assert!(link().url(&user, Some(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn neither_secret_nor_user_is_shown() {
    let user = LinkUser { email: Some("canary@example.org".into()), ..LinkUser::new("canary") };
    let (link, url) = (link(), link().url(&user, None).unwrap());
    let printed = format!("{link:?} {user:?} {url:?} {:?} {:?}", link.token(&user), link.url(&user, Some("x")));
    assert!(!printed.contains("canary"), "{printed}");
}
