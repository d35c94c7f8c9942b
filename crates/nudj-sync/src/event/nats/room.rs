//! Whether there is room for one more event.

use super::bus::Shared;
use super::wire::failed;
use crate::Error;

/// What is known of the room on the bus without asking: numbers on the stream only grow by publishing, so up to `end` there is room,
/// whoever publishes.
///
/// The server is not told of the bound: it would refuse follow-ups and replayed copies as well, and without these a full bus never empties.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The highest number that is taken, so far as is known here.
    taken: u64,
    end: u64,
}

impl Room {
    fn take(&mut self) -> bool {
        let fits = self.taken < self.end;
        self.taken += u64::from(fits);
        fits
    }

    /// A publication was given this number.
    pub(super) fn saw(&mut self, number: u64) {
        self.taken = self.taken.max(number);
    }
}

impl Shared {
    /// Takes the room for one more event; asks the server only when all that is known of is taken. Those that publish at the same time
    /// may together take a little more.
    pub(super) async fn take_room(&self) -> Result<bool, Error> {
        if self.room.lock().take() {
            return Ok(true);
        }
        // In this order, so that what is buried in between counts twice, rather than not at all.
        let work = self.work.get_info().await.map_err(failed)?.state;
        let dead = self.dead.get_info().await.map_err(failed)?.state;
        let free = u64::from(self.config.max_events).saturating_sub(work.messages + dead.messages);
        let mut room = self.room.lock();
        *room = Room { taken: work.last_sequence, end: work.last_sequence + free };
        Ok(room.take())
    }
}
