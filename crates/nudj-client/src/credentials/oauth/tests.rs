use super::*;

fn provider() -> ClientCredentials {
    ClientCredentials::new("https://issuer.example/token", "the id", "canary&+", &HttpConfig::default()).unwrap()
}

fn read(status: u16, body: &str) -> Result<Credential, ProviderError> {
    let answer = Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    provider().read(&answer)
}

#[test]
fn answers_are_read_as_servers_write_them() {
    for (expires, expected) in [
        ("", None),
        (r#","expires_in":null"#, None),
        (r#","expires_in":3600"#, Some(3600)),
        (r#","expires_in":"3600""#, Some(3600)),
        (r#","expires_in":3600.0"#, Some(3600)),
        // None left: the keeper refuses it.
        (r#","expires_in":0"#, Some(0)),
        (r#","expires_in":-5"#, Some(0)),
        (r#","expires_in":1e300"#, Some(3_200_000_000)),
    ] {
        let credential = read(200, &format!(r#"{{"access_token":"t","token_type":"bearer"{expires}}}"#)).unwrap();
        assert_eq!(credential.secret().expose_secret(), "t");
        assert_eq!(credential.lifetime(), expected.map(Duration::from_secs), "{expires}");
    }
}

#[test]
fn garbage_is_named_and_not_shown() {
    for body in [
        "",
        "<html>canary</html>",
        "[]",
        r#"{"access_token":"canary"}"#,
        r#"{"access_token":"canary","token_type":"mac"}"#,
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":{"canary":1},"token_type":"Bearer"}"#,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":"canary"}"#,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":"NaN"}"#,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":[]}"#,
    ] {
        let error = read(200, body).unwrap_err();
        assert!(matches!(error, ProviderError::Garbage { .. }), "{body}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_refusal_repeats_only_codes_that_the_rfc_defines() {
    for (status, body, expected) in [
        (401, r#"{"error":"invalid_client","error_description":"canary"}"#, Some("invalid_client")),
        (400, r#"{"error":"canary"}"#, None),
        (503, "canary", None),
        (302, "", None),
        (201, r#"{"access_token":"canary","token_type":"Bearer"}"#, None),
    ] {
        let error = read(status, body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        let ProviderError::Refused { code, .. } = error else { panic!("{error}") };
        assert_eq!(code, expected, "{body}");
    }
}

#[test]
fn basic_keeps_the_secret_out_of_the_form_and_marks_it() {
    let request = provider().basic().request().unwrap();
    let value = &request.headers()[header::AUTHORIZATION];
    assert!(value.is_sensitive());
    let pair = BASE64_STANDARD.decode(&value.as_bytes()["Basic ".len()..]).unwrap();
    assert_eq!(pair, b"the%20id:canary%26%2B");
    assert!(provider().request().unwrap().headers().get(header::AUTHORIZATION).is_none());
}

#[test]
fn a_secret_goes_nowhere_in_plain_text_unless_told_so() {
    for (url, fine) in [
        ("https://issuer.example/token", true),
        ("http://127.0.0.1:1/token", true),
        ("http://localhost/token", true),
        ("http://issuer.example/token", false),
        ("https://user:pass@issuer.example/token", false),
        ("ftp://issuer.example/token", false),
        ("issuer.example", false),
    ] {
        let made = ClientCredentials::new(url, "id", "canary", &HttpConfig::default());
        assert_eq!(made.is_ok(), fine, "{url}");
        assert!(!format!("{made:?}").contains("canary"));
    }
    let allowed = HttpConfig { allow_http: true, ..HttpConfig::default() };
    assert!(ClientCredentials::new("http://issuer.example/token", "id", "s", &allowed).is_ok());
}
