use http::Method;

use super::super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// Challenges, as administrators see them.
    Challenges
}

impl Challenges<'_> {
    /// All challenges.
    pub fn list(self) -> List<Challenge> {
        List::new(self.client, route("listChallenges", "/api/v2/admin/challenges"))
    }

    /// One challenge.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, challenge_id: &str) -> Result<Challenge, Error> {
        let route = route("getChallenge", "/api/v2/admin/challenges/{challengeId}");
        self.client.typed(Method::GET, route, &[challenge_id]).json().await
    }

    /// Creates a challenge.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewChallenge) -> Result<Challenge, Error> {
        let route = route("createChallenge", "/api/v2/admin/challenges");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a challenge; a POST, as documented.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &ChallengeUpdate) -> Result<Challenge, Error> {
        let route = route("updateChallenge", "/api/v2/admin/challenges/{id}");
        self.client.typed(Method::POST, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Groups of challenges, as administrators see them.
    ChallengeGroups
}

impl ChallengeGroups<'_> {
    /// All groups.
    pub fn list(self) -> List<ChallengeGroup> {
        List::new(self.client, route("listChallengeGroups", "/api/v2/admin/challenge-groups"))
    }

    /// Creates a group.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewChallengeGroup) -> Result<ChallengeGroup, Error> {
        let route = route("createChallengeGroup", "/api/v2/admin/challenge-groups");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a group.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &ChallengeGroupUpdate) -> Result<ChallengeGroup, Error> {
        let route = route("updateChallengeGroup", "/api/v2/admin/challenge-groups/{id}");
        self.client.typed(Method::PATCH, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Actions, as administrators see them.
    Actions
}

impl Actions<'_> {
    /// All actions.
    pub fn list(self) -> List<Action> {
        List::new(self.client, route("listActions", "/api/v2/admin/actions"))
    }

    /// One action.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, action_id: &str) -> Result<Action, Error> {
        let route = route("getAction", "/api/v2/admin/actions/{actionId}");
        self.client.typed(Method::GET, route, &[action_id]).json().await
    }

    /// Creates an action.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewAction) -> Result<Action, Error> {
        let route = route("createAction", "/api/v2/admin/actions");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Puts the actions of a challenge or achievement in this order; answers with all of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reorder(self, allocation_id: &str, action_ids: &[&str]) -> Result<Vec<Action>, Error> {
        let body = serde_json::json!({ "allocationId": allocation_id, "actionIds": action_ids });
        self.client
            .typed(Method::PATCH, route("reorderActions", "/api/v2/admin/actions/reorder"), &[])
            .body_json(&body)
            .json()
            .await
    }
}

resource! {
    /// What members did, as administrators see it.
    ActionParticipations
}

impl ActionParticipations<'_> {
    /// One participation.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<ActionParticipation, Error> {
        let route = route("getActionParticipation", "/api/v2/admin/action-participations/{actionParticipationId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }
}

resource! {
    /// Achievements, as administrators see them.
    Achievements
}

impl Achievements<'_> {
    /// All achievements.
    pub fn list(self) -> List<Achievement> {
        List::new(self.client, route("listAchievements", "/api/v2/admin/achievements"))
    }
}

resource! {
    /// Leaderboards, as administrators see them.
    Leaderboards
}

impl Leaderboards<'_> {
    /// All leaderboards' set-ups.
    pub fn list(self) -> List<LeaderboardConfig> {
        List::new(self.client, route("listLeaderboardConfigs", "/api/v2/admin/leaderboards/configs"))
    }

    /// One leaderboard's set-up.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<LeaderboardConfig, Error> {
        let route = route("getLeaderboardConfig", "/api/v2/admin/leaderboards/configs/{leaderboardConfigId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Creates a leaderboard.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewLeaderboard) -> Result<LeaderboardConfig, Error> {
        let route = route("createLeaderboard", "/api/v2/admin/leaderboards");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }
}
