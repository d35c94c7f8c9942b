//! Every route of the mock, with the name of its procedure as it appears in error envelopes.

use std::sync::Arc;

use axum::{
    Router,
    routing::{MethodFilter, MethodRouter, on},
};
use http::StatusCode;

use super::{Failure, Handler, Procedure, World, refuse, run, users};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PATCH: MethodFilter = MethodFilter::PATCH;
const DELETE: MethodFilter = MethodFilter::DELETE;

type Row = (MethodFilter, &'static str, &'static str, Handler);

/// Method, path, procedure, handler.
fn table() -> Vec<Row> {
    vec![
        (GET, "/api/v2/admin/users", "getUsers", users::list),
        (POST, "/api/v2/admin/users", "createUser", users::create),
        // Seed only, not in the public reference.
        (POST, "/api/v2/admin/users/bulk", "bulkCreateUsers", users::bulk_create),
        (GET, "/api/v2/admin/users/{id}", "getUser", users::get),
        // Seed only; the API updates other things by POST, so both are taken.
        (PATCH, "/api/v2/admin/users/{id}", "updateUser", users::update),
        (POST, "/api/v2/admin/users/{id}", "updateUser", users::update),
        (DELETE, "/api/v2/admin/users/{id}", "deleteUser", users::delete),
        (GET, "/api/v2/integration/me", "getMe", users::me),
    ]
}

pub(crate) fn router(world: Arc<World>) -> Router {
    let mut router = Router::new();
    for (method, path, name, handler) in table() {
        router = router.route(path, procedure(method, Procedure { name, run: handler, public: false }));
    }
    router
        .fallback(|| async { refuse(&Failure::not_found("No procedure"), "") })
        .method_not_allowed_fallback(|| async {
            let failure =
                Failure { status: StatusCode::METHOD_NOT_ALLOWED, message: "Method not supported".to_owned() };
            refuse(&failure, "")
        })
        .with_state(world)
}

fn procedure(method: MethodFilter, procedure: Procedure) -> MethodRouter<Arc<World>> {
    on(method, move |state, params, body, request| run(procedure, state, params, body, request))
}
