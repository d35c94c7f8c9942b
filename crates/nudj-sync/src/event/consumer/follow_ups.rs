//! Whether what follows from an event can be published.

use std::collections::HashMap;

use crate::event::Event;

/// More follow-ups of one event are an error of the handler.
const MOST: usize = 1000;

/// Checks what a handler made against the bus's limits and against what handlers made of the same event `before`. The error says what is
/// wrong with it.
pub(super) fn check(before: &[Event], follow_ups: &[Event]) -> Result<(), String> {
    if let Some(error) = follow_ups.iter().find_map(|event| event.check().err()) {
        return Err(format!("a follow-up is wrong: {error}"));
    }
    let count = before.len().saturating_add(follow_ups.len());
    if count > MOST {
        return Err(format!("{count} follow-ups; at most {MOST} may follow from one event"));
    }
    if count < 2 {
        return Ok(());
    }
    let mut known: HashMap<&str, &Event> = HashMap::with_capacity(count);
    for event in before.iter().chain(follow_ups) {
        if known.insert(&event.id, event).is_some_and(|other| !other.tells_the_same(event)) {
            let id = &event.id;
            return Err(format!(
                "two follow-ups with the id {id:?} and other content, of which a bus takes one; make them by follow_up_as"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_with_other_content_is_refused_also_where_another_handler_made_it() {
        let event = Event::new("order.placed", "o-1", ()).unwrap();
        let mail = |to: &str| event.follow_up("mail.requested", to).unwrap();
        let part = |to: &str| event.follow_up_as("mail.requested", to, to).unwrap();
        assert_eq!(check(&[], &[part("a"), part("b"), mail("c")]), Ok(()));
        let same_later = Event { occurred_at: 0, ..mail("a") };
        assert_eq!(check(&[mail("a")], &[same_later]), Ok(()), "one event, told twice");
        for (before, now) in [(vec![], vec![mail("a"), mail("b")]), (vec![mail("a")], vec![mail("b")])] {
            let problem = check(&before, &now).unwrap_err();
            assert!(problem.contains(&mail("a").id) && problem.contains("follow_up_as"), "{problem}");
        }
    }

    #[test]
    fn more_than_the_bound_are_refused_however_many_handlers_made_them() {
        let event = Event::new("a", "k", ()).unwrap();
        let parts = |from: usize, to: usize| -> Vec<_> {
            (from..to).map(|part| event.follow_up_as("b", part, ()).unwrap()).collect()
        };
        assert_eq!(check(&parts(0, 500), &parts(500, 1000)), Ok(()));
        assert!(check(&parts(0, 500), &parts(500, 1001)).unwrap_err().contains("1001 follow-ups"));
    }
}
