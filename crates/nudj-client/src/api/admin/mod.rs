mod challenges;
mod communities;
mod rewards;
mod users;

pub use self::{challenges::*, communities::*, rewards::*, users::*};
use super::resource;

resource! {
    /// What administrators may do: `/api/v2/admin`.
    Admin
}

impl<'c> Admin<'c> {
    /// Users, as administrators see them.
    #[must_use]
    pub fn users(self) -> Users<'c> {
        Users { client: self.client }
    }

    /// Challenges, as administrators see them.
    #[must_use]
    pub fn challenges(self) -> Challenges<'c> {
        Challenges { client: self.client }
    }

    /// Groups of challenges, as administrators see them.
    #[must_use]
    pub fn challenge_groups(self) -> ChallengeGroups<'c> {
        ChallengeGroups { client: self.client }
    }

    /// Actions, as administrators see them.
    #[must_use]
    pub fn actions(self) -> Actions<'c> {
        Actions { client: self.client }
    }

    /// What members did, as administrators see it.
    #[must_use]
    pub fn action_participations(self) -> ActionParticipations<'c> {
        ActionParticipations { client: self.client }
    }

    /// Rewards, as administrators see them.
    #[must_use]
    pub fn rewards(self) -> Rewards<'c> {
        Rewards { client: self.client }
    }

    /// Achievements, as administrators see them.
    #[must_use]
    pub fn achievements(self) -> Achievements<'c> {
        Achievements { client: self.client }
    }

    /// Communities, as administrators see them.
    #[must_use]
    pub fn communities(self) -> Communities<'c> {
        Communities { client: self.client }
    }

    /// Leaderboards, as administrators see them.
    #[must_use]
    pub fn leaderboards(self) -> Leaderboards<'c> {
        Leaderboards { client: self.client }
    }

    /// Webhooks: where Nudj sends which events.
    #[must_use]
    pub fn webhooks(self) -> Webhooks<'c> {
        Webhooks { client: self.client }
    }

    /// Custom events.
    #[must_use]
    pub fn events(self) -> Events<'c> {
        Events { client: self.client }
    }
}
