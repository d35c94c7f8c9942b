use super::*;

fn parse(text: &str) -> Event {
    Event::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

#[test]
fn reward_event_of_the_enterprise_pages_is_typed() {
    let event = parse(
        r#"{"event":"reward.earned","timestamp":"2026-04-17T10:30:00Z","data":{
            "reward":{"id":"r1","type":"voucher","value":10,"name":"Ten off"},
            "user":{"id":"u1","externalUserId":"crm-7"},"challenge":{"id":"c1","name":"Walk"},"tier":"gold"}}"#,
    );
    assert_eq!((event.kind(), event.family()), (EventKind::RewardEarned, Family::Dotted));
    assert_eq!((event.user_id(), event.occurred_at_unix()), (Some("u1"), Some(1_776_421_800)));
    let Payload::Engagement(data) = event.payload().unwrap() else { panic!() };
    let reward = data.reward.unwrap();
    assert_eq!((reward.id.as_str(), reward.kind.as_deref(), reward.value), ("r1", Some("voucher"), Some(10.into())));
    assert_eq!(data.user.unwrap().external_user_id.as_deref(), Some("crm-7"));
    assert_eq!(data.challenge.unwrap().name.as_deref(), Some("Walk"));
    assert_eq!(data.extra["tier"], "gold");
}

#[test]
fn older_spelling_of_the_external_id_is_read() {
    let event = parse(r#"{"event":"reward.earned","data":{"user":{"id":"u1","external_id":"crm-7","email":null}}}"#);
    let Payload::Engagement(data) = event.payload().unwrap() else { panic!() };
    assert_eq!(data.user.unwrap().external_user_id.as_deref(), Some("crm-7"));
}

#[test]
fn activity_of_the_developer_pages_is_typed() {
    let event = parse(
        r#"{"id":"e1","eventCategory":"action","eventSubCategory":"action-participation","organisationId":"o1",
            "communityId":null,"userId":"u1","eventSourceId":"p1","createdAt":"2026-03-14T09:00:00.5+01:00",
            "payload":{"actionId":"a1","isCorrect":true,"pointsEarned":2.5}}"#,
    );
    assert_eq!((event.kind(), event.family()), (EventKind::ActivityActionParticipation, Family::Activity));
    assert_eq!((event.id(), event.user_id(), event.occurred_at_unix()), (Some("e1"), Some("u1"), Some(1_773_475_200)));
    assert_eq!(event.data()["actionId"], "a1");
    let Payload::Activity(activity) = event.payload().unwrap() else { panic!() };
    let participation = activity.action_participation().unwrap();
    assert_eq!((participation.is_correct, participation.points_earned), (Some(true), Some(2.5)));
}

#[test]
fn user_updated_without_its_user_is_an_event_whose_data_does_not_fit() {
    let event = parse(r#"{"event":"user.updated","data":{}}"#);
    assert!(matches!(event.payload(), Err(Error::EventData { event, .. }) if event == "user.updated"));
    let Payload::UserUpdated(data) = parse(r#"{"type":"user.updated","data":{"user_id":"u1"}}"#).payload().unwrap()
    else {
        panic!()
    };
    assert_eq!(data.user_id, "u1");
}

#[test]
fn unknown_event_keeps_its_bytes_and_its_numbers() {
    let text = r#"{ "event":"level.reached" , "data":{"score":9007199254740993} }"#;
    let event = parse(text);
    assert_eq!(event.raw(), text.as_bytes());
    assert_eq!(event.payload().unwrap(), Payload::Unknown(serde_json::json!({"score": 9_007_199_254_740_993_u64})));
    assert_eq!(parse(r#"{"event":"shopify.order","data":1}"#).kind(), EventKind::Shopify);
}

#[test]
fn every_listed_name_is_its_kind() {
    for (name, kind) in EventKind::LISTED {
        assert_eq!(EventKind::of(name), *kind);
        assert_ne!(*kind, EventKind::Unknown);
    }
}

#[test]
fn what_is_no_event_is_refused() {
    let deep = "[".repeat(10_000);
    for body in [
        &b""[..],
        b"\xff\xfe",
        b"null",
        b"[]",
        b"\"user.updated\"",
        b"{}",
        br#"{"event":""}"#,
        br#"{"event":7}"#,
        br#"{"event":"a"} x"#,
        br#"{"event":"a""#,
        b"{\"event\":\"\xff\"}",
        deep.as_bytes(),
    ] {
        let result = Event::parse(Bytes::copy_from_slice(body));
        assert!(matches!(result, Err(Error::NotAnEvent { .. })), "{body:?}");
    }
}

#[test]
fn times_are_read_in_seconds_milliseconds_and_text() {
    for (json, seconds) in [
        ("1760000000", Some(1_760_000_000)),
        ("1760000000999", Some(1_760_000_000)),
        ("-9223372036854775808", Some(i64::MIN.div_euclid(1000))),
        ("\"1970-01-01T00:00:01Z\"", Some(1)),
        ("\"yesterday\"", None),
        ("1.5", None),
        ("18446744073709551615", None),
        ("null", None),
    ] {
        let event = parse(&format!(r#"{{"event":"a","timestamp":{json}}}"#));
        assert_eq!(event.occurred_at_unix(), seconds, "{json}");
    }
}
