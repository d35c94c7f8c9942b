use http::Method;

use super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// What the user whose token it is may do: `/api/v2/integration`.
    Integration
}

impl<'c> Integration<'c> {
    /// The user whose token this is.
    #[must_use]
    pub fn me(self) -> Me<'c> {
        Me { client: self.client }
    }

    /// Challenges, as the user sees them.
    #[must_use]
    pub fn challenges(self) -> MyChallenges<'c> {
        MyChallenges { client: self.client }
    }

    /// Groups of challenges, as the user sees them.
    #[must_use]
    pub fn challenge_groups(self) -> MyChallengeGroups<'c> {
        MyChallengeGroups { client: self.client }
    }

    /// Actions, as the user sees them.
    #[must_use]
    pub fn actions(self) -> MyActions<'c> {
        MyActions { client: self.client }
    }

    /// What the user did.
    #[must_use]
    pub fn action_participations(self) -> MyActionParticipations<'c> {
        MyActionParticipations { client: self.client }
    }

    /// The catalogue of rewards.
    #[must_use]
    pub fn rewards(self) -> MyRewards<'c> {
        MyRewards { client: self.client }
    }

    /// Achievements, as the user sees them.
    #[must_use]
    pub fn achievements(self) -> MyAchievements<'c> {
        MyAchievements { client: self.client }
    }

    /// Communities, as the user sees them.
    #[must_use]
    pub fn communities(self) -> MyCommunities<'c> {
        MyCommunities { client: self.client }
    }

    /// Leaderboards, as the user sees them.
    #[must_use]
    pub fn leaderboards(self) -> MyLeaderboards<'c> {
        MyLeaderboards { client: self.client }
    }
}

resource! {
    /// The user whose token this is.
    Me
}

impl Me<'_> {
    /// The user herself.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self) -> Result<User, Error> {
        let route = route("getMe", "/api/v2/integration/me");
        self.client.typed(Method::GET, route, &[]).json().await
    }

    /// The rewards she holds.
    pub fn rewards(self) -> List<RewardAsset> {
        List::new(self.client, route("listMyRewards", "/api/v2/integration/me/rewards"))
    }

    /// One reward she holds.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reward(self, id: &str) -> Result<RewardAsset, Error> {
        let route = route("getMyReward", "/api/v2/integration/me/rewards/{rewardAssetId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Redeems a reward.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn redeem(self, id: &str) -> Result<RewardAsset, Error> {
        let route = route("redeemReward", "/api/v2/integration/me/rewards/{rewardAssetId}/redeem");
        self.client.typed(Method::POST, route, &[id]).json().await
    }

    /// Her entries in giveaways.
    pub fn reward_entries(self) -> List<RewardEntry> {
        List::new(self.client, route("listMyRewardEntries", "/api/v2/integration/me/reward-entries"))
    }

    /// One entry.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reward_entry(self, id: &str) -> Result<RewardEntry, Error> {
        let route = route("getMyRewardEntry", "/api/v2/integration/me/reward-entries/{rewardEntryId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Sees whether an entry has won.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn check_reward_entry(self, id: &str) -> Result<RewardEntry, Error> {
        let route = route("checkRewardEntry", "/api/v2/integration/me/reward-entries/{rewardEntryId}/check");
        self.client.typed(Method::POST, route, &[id]).json().await
    }
}

resource! {
    /// Challenges, as the user sees them.
    MyChallenges
}

impl MyChallenges<'_> {
    /// All challenges.
    pub fn list(self) -> List<Challenge> {
        List::new(self.client, route("listMyChallenges", "/api/v2/integration/challenges"))
    }

    /// One challenge with its actions.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, challenge_id: &str) -> Result<Challenge, Error> {
        let route = route("getMyChallenge", "/api/v2/integration/challenges/{challengeId}");
        self.client.typed(Method::GET, route, &[challenge_id]).json().await
    }

    /// Spends `amount` keys, above 0, to unlock a challenge.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unlock(self, id: &str, amount: u32) -> Result<Unlocked, Error> {
        let route = route("unlockChallenge", "/api/v2/integration/challenges/{id}/unlock");
        self.client.typed(Method::POST, route, &[id]).body_json(&serde_json::json!({ "amount": amount })).json().await
    }

    /// Begins a challenge. The reference names the path and no schema; who begins is whose token it is, and `user_id`, the seed's
    /// second argument, is sent along for servers that look at it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(self, id: &str, user_id: Option<&str>) -> Result<ChallengeStarted, Error> {
        let route = route("startChallenge", "/api/v2/integration/challenges/{id}/start");
        self.client.typed(Method::POST, route, &[id]).body_json(&serde_json::json!({ "userId": user_id })).json().await
    }

    /// Completes a challenge. The reference names the path and no schema; `score` and the answer are the seed's. The documented way
    /// to take part is [`MyActionParticipations::create`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn complete(self, id: &str, user_id: Option<&str>, score: f64) -> Result<ChallengeCompleted, Error> {
        let route = route("completeChallenge", "/api/v2/integration/challenges/{id}/complete");
        let body = serde_json::json!({ "userId": user_id, "score": score });
        self.client.typed(Method::POST, route, &[id]).body_json(&body).json().await
    }
}

resource! {
    /// Groups of challenges, as the user sees them.
    MyChallengeGroups
}

impl MyChallengeGroups<'_> {
    /// All groups.
    pub fn list(self) -> List<ChallengeGroup> {
        List::new(self.client, route("listMyChallengeGroups", "/api/v2/integration/challenge-groups"))
    }

    /// One group with its challenges.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<ChallengeGroup, Error> {
        let route = route("getMyChallengeGroup", "/api/v2/integration/challenge-groups/{challengeGroupId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }
}

resource! {
    /// Actions, as the user sees them.
    MyActions
}

impl MyActions<'_> {
    /// All actions.
    pub fn list(self) -> List<Action> {
        List::new(self.client, route("listMyActions", "/api/v2/integration/actions"))
    }
}

resource! {
    /// What the user did.
    MyActionParticipations
}

impl MyActionParticipations<'_> {
    /// All she did.
    pub fn list(self) -> List<ActionParticipation> {
        List::new(self.client, route("listMyActionParticipations", "/api/v2/integration/action-participations"))
    }

    /// Submits an action's answer: the documented way to take part.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewActionParticipation) -> Result<ActionParticipation, Error> {
        let route = route("createActionParticipation", "/api/v2/integration/action-participations");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }
}

resource! {
    /// The catalogue of rewards.
    MyRewards
}

impl MyRewards<'_> {
    /// All rewards.
    pub fn list(self) -> List<Reward> {
        List::new(self.client, route("listCatalogueRewards", "/api/v2/integration/rewards"))
    }
}

resource! {
    /// Achievements, as the user sees them.
    MyAchievements
}

impl MyAchievements<'_> {
    /// All achievements.
    pub fn list(self) -> List<Achievement> {
        List::new(self.client, route("listMyAchievements", "/api/v2/integration/achievements"))
    }

    /// One achievement, and where the user stands.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<Achievement, Error> {
        let route = route("getMyAchievement", "/api/v2/integration/achievements/{achievementId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }
}

resource! {
    /// Communities, as the user sees them.
    MyCommunities
}

impl MyCommunities<'_> {
    /// One community, by id or slug.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, identifier: &str) -> Result<Community, Error> {
        let route = route("getMyCommunity", "/api/v2/integration/communities/{identifier}");
        self.client.typed(Method::GET, route, &[identifier]).json().await
    }
}

resource! {
    /// Leaderboards, as the user sees them.
    MyLeaderboards
}

impl MyLeaderboards<'_> {
    /// All leaderboards' set-ups.
    pub fn list(self) -> List<LeaderboardConfig> {
        List::new(self.client, route("listMyLeaderboardConfigs", "/api/v2/integration/leaderboards/configs"))
    }
}
