use proptest::prelude::*;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, HeaderValue::from_bytes(value).expect("a header takes it"));
    }
    map
}

fn sent(map: &HeaderMap, served: Option<&Served>) -> (Settled, HeaderMap) {
    let mut settled = settle(map, served, &mut fastrand::Rng::with_seed(7), || 1_700_000_000_000);
    let mut out = map.clone();
    settled.send_in(&mut out);
    (settled, out)
}

fn served() -> Served {
    let mut trace = TraceContext::parse(PARENT.as_bytes()).unwrap();
    trace.tracestate = Some(HeaderValue::from_static("v=1"));
    Served { correlation_id: HeaderValue::from_static("served"), trace, begins_here: true }
}

#[test]
fn a_good_id_is_kept_and_a_bad_one_replaced() {
    let longest = [b'x'; 128];
    for good in [&b"a"[..], b"order-17", b"A.b_C-9", &longest] {
        let (settled, out) = sent(&headers(&[("x-correlation-id", good)]), None);
        assert_eq!((settled.correlation_id.as_bytes(), out[&CORRELATION_ID].as_bytes()), (good, good));
    }
    let (long, huge) = ([b'x'; 129], [b'x'; 4096]);
    for bad in [
        &b""[..],
        b"a b",
        b"a\tb",
        b"a\xe9",
        b"a\x9b31m",
        b"a/b",
        b"a:b",
        b"a\"b",
        b"a=b",
        "\u{661}".as_bytes(),
        &long,
        &huge,
    ] {
        let (settled, out) = sent(&headers(&[("x-correlation-id", bad)]), None);
        assert_eq!(settled.correlation_id.len(), 36, "{bad:?}");
        assert_eq!(out.get_all(CORRELATION_ID).iter().collect::<Vec<_>>(), [&settled.correlation_id]);
    }
}

#[test]
fn two_ids_are_no_id() {
    let (settled, out) = sent(&headers(&[("x-correlation-id", b"a"), ("x-correlation-id", b"b")]), None);
    assert_eq!(settled.correlation_id.len(), 36);
    assert_eq!(out.get_all(CORRELATION_ID).iter().count(), 1);
}

#[test]
fn a_new_id_is_a_uuid_of_version_7_and_shares_its_buffer_with_the_traceparent() {
    let (settled, out) = sent(&HeaderMap::new(), None);
    let id = uuid::Uuid::parse_str(settled.correlation_id.to_str().unwrap()).unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 0));
    let (first, second) = (settled.correlation_id.as_bytes().as_ptr(), out[&TRACEPARENT].as_bytes().as_ptr());
    assert_eq!(second as usize - first as usize, UUID);
    let trace = TraceContext::parse(out[&TRACEPARENT].as_bytes()).unwrap();
    assert_eq!(trace.trace_id, settled.trace.trace_id);
    assert_ne!(trace.parent, settled.trace.parent, "the request has a span of its own");
    assert_eq!(trace.parent, settled.first_attempt);
}

#[test]
fn the_call_being_served_is_asked_only_where_the_request_says_nothing() {
    let served = served();
    let (settled, out) = sent(&HeaderMap::new(), Some(&served));
    assert_eq!((&settled.correlation_id, &settled.trace), (&served.correlation_id, &served.trace));
    assert_eq!(out[&TRACESTATE], "v=1");
    let (settled, _) = sent(&headers(&[("x-correlation-id", b"mine")]), Some(&served));
    assert_eq!(settled.correlation_id, "mine");
    let (settled, _) = sent(&headers(&[("x-correlation-id", b"not mine")]), Some(&served));
    assert_eq!(settled.correlation_id, "served");
    let (settled, out) = sent(&headers(&[("traceparent", b"nonsense")]), Some(&served));
    assert_ne!(settled.trace.trace_id, served.trace.trace_id, "a bad traceparent restarts the trace");
    assert!(!out.contains_key(TRACESTATE));
}

#[test]
fn a_trace_is_continued_with_its_state_or_restarted_without() {
    let (settled, out) =
        sent(&headers(&[("traceparent", PARENT.as_bytes()), ("tracestate", b"a=1"), ("tracestate", b"b=2")]), None);
    assert_eq!(&settled.trace.traceparent(settled.trace.parent), PARENT.as_bytes());
    assert_eq!(settled.trace.tracestate.as_ref().unwrap(), "a=1,b=2");
    assert_eq!(out.get_all(TRACESTATE).iter().count(), 2, "carried as it came");
    assert_ne!(out[&TRACEPARENT], PARENT);
    for bad in [
        &[("traceparent", b"zz".as_slice()), ("tracestate", b"a=1")][..],
        &[("traceparent", PARENT.as_bytes()), ("traceparent", PARENT.as_bytes()), ("tracestate", b"a=1")],
        &[("tracestate", b"a=1")],
    ] {
        let (settled, out) = sent(&headers(bad), None);
        assert_ne!(settled.trace.trace_id, TraceContext::parse(PARENT.as_bytes()).unwrap().trace_id);
        assert!(settled.trace.tracestate.is_none() && !out.contains_key(TRACESTATE));
        assert_eq!(out.get_all(TRACEPARENT).iter().count(), 1);
    }
}

#[test]
fn what_came_in_is_cleaned_and_a_good_trace_stays_its_senders() {
    let clean = |map: &HeaderMap| {
        let mut out = map.clone();
        settle(map, None, &mut fastrand::Rng::with_seed(7), || 0).clean(&mut out);
        out
    };
    let good = headers(&[("x-correlation-id", b"a"), ("traceparent", PARENT.as_bytes()), ("tracestate", b"a=1")]);
    assert_eq!(clean(&good), good);
    let out = clean(&headers(&[("x-correlation-id", b"\x9b"), ("traceparent", b"?"), ("tracestate", b"a=1")]));
    assert_eq!(out.len(), 1);
    assert_eq!(out[&CORRELATION_ID].len(), 36);
}

proptest! {
    #[test]
    fn whatever_is_in_the_headers_one_good_id_and_one_good_traceparent_leave(
        ids in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..140), 0..3),
        parents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..3),
        millis: u64,
        seed: u64,
    ) {
        let mut map = HeaderMap::new();
        for (name, values) in [(CORRELATION_ID, &ids), (TRACEPARENT, &parents)] {
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                map.append(name.clone(), value);
            }
        }
        let mut settled = settle(&map, None, &mut fastrand::Rng::with_seed(seed), || millis);
        let mut out = map.clone();
        settled.send_in(&mut out);
        let id = only(out.get_all(CORRELATION_ID)).unwrap();
        prop_assert!(is_good(id.as_bytes()));
        prop_assert_eq!(id, &settled.correlation_id);
        prop_assert!(TraceContext::parse(only(out.get_all(TRACEPARENT)).unwrap().as_bytes()).is_ok());
    }
}

#[test]
fn a_calls_own_span_is_the_traces_first_or_a_new_one_below_what_called_it() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut settle = |headers: &[(&'static str, &'static str)], served: Option<&Served>| {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        super::settle(&headers.collect(), served, &mut rng, || 0)
    };
    let begun = settle(&[], None);
    assert_eq!(begun.span, CallSpan { id: begun.trace.parent, parent: None, begins_here: true });
    let broken = settle(&[("traceparent", "00-0-0-0")], Some(&served()));
    assert_eq!(broken.span.parent, None, "a new trace has nothing above");
    let named = settle(&[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")], Some(&served()));
    assert_eq!((named.span.parent, named.span.begins_here), (SpanId::new(0x00f0_67aa_0ba9_02b7), false));
    assert_ne!(Some(named.span.id), named.span.parent);
    for begins_here in [true, false] {
        let served = Served { begins_here, ..served() };
        let below = settle(&[], Some(&served));
        assert_eq!((below.span.parent, below.span.begins_here), (Some(served.trace.parent), begins_here));
    }
}
