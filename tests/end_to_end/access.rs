//! API tokens, sessions and origins.

use http::Method;

use crate::common::{
    ALLOWED_ORIGIN, TOKEN, assert_common_headers, assert_error, bearer, day_path, end_to_end,
};

#[test]
fn an_api_token_lets_its_bearer_in_and_nothing_like_it_does() {
    end_to_end(async |shared| {
        let path = day_path("users");
        for (scheme, status) in
            [("Bearer", 200), ("bearer", 200), ("Basic", 401), ("Token", 401), ("", 401)]
        {
            let authorization = format!("{scheme} {TOKEN}");
            let headers = [("authorization", authorization.as_str())];
            let answer = shared.worker.send(Method::GET, &path, &headers).await;
            assert_eq!(answer.status, status, "scheme {scheme:?}: {answer:?}");
        }
        let longer = format!("Bearer {TOKEN}x");
        let shorter = bearer(&TOKEN[1..]);
        let endless = bearer(&"x".repeat(4000));
        let cookie = format!("user_session={TOKEN}");
        for headers in [
            &[][..],
            &[("authorization", longer.as_str())],
            &[("authorization", shorter.as_str())],
            &[("authorization", endless.as_str())],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            // A token is no session.
            &[("cookie", cookie.as_str())],
        ] {
            let answer = shared.worker.send(Method::GET, &path, headers).await;
            let context = format!("{headers:?}");
            assert_error(&answer, 401, &context);
            assert!(answer.header("www-authenticate").starts_with("Bearer "), "{context}");
        }
    });
}

#[test]
fn a_session_of_the_platform_lets_active_administrators_in() {
    end_to_end(async |shared| {
        let path = day_path("users");
        let accounts = &shared.accounts;
        // Twice: the second answer comes from the memory of sessions.
        for round in ["first", "second"] {
            for (who, session, status) in [
                ("an administrator", accounts.administrator.session_id.as_str(), 200),
                ("an ordinary user", &accounts.ordinary_session_id, 403),
                ("an expired session", &accounts.expired_session_id, 401),
                ("a deactivated administrator", &accounts.deactivated_session_id, 401),
                ("an unknown session", "00000000-0000-4000-8000-000000000000", 401),
                ("an impossible session", "%00%ff#METADATA", 401),
            ] {
                let cookie = format!("theme=dark; user_session={session}; lang=en");
                let authorization = bearer(session);
                for header in
                    [("cookie", cookie.as_str()), ("authorization", authorization.as_str())]
                {
                    let answer = shared.worker.send(Method::GET, &path, &[header]).await;
                    let context = format!("{who} by {}, {round} time", header.0);
                    if status == 200 {
                        assert_eq!(answer.status, 200, "{context}: {answer:?}");
                        assert_common_headers(&answer, &context);
                    } else {
                        assert_error(&answer, status, &context);
                        let asks = answer.header("www-authenticate").starts_with("Bearer ");
                        assert_eq!(asks, status == 401, "{context}");
                    }
                }
            }
        }
    });
}

#[test]
fn only_allowed_origins_may_read_answers() {
    end_to_end(async |shared| {
        let path = day_path("users");
        let authorization = bearer(TOKEN);
        for (origin, allowed) in [
            (ALLOWED_ORIGIN, true),
            ("http://localhost:3000", true),
            ("https://elsewhere.example.com", false),
            ("https://admin.example.com.elsewhere.example", false),
            ("http://admin.example.com", false),
            ("null", false),
        ] {
            let expected = if allowed { origin } else { "" };
            let preflight = [
                ("origin", origin),
                ("access-control-request-method", "GET"),
                ("access-control-request-headers", "authorization"),
            ];
            let answer = shared.worker.send(Method::OPTIONS, &path, &preflight).await;
            assert_eq!(answer.status, 200, "{origin}: {answer:?}");
            assert_common_headers(&answer, origin);
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
            if allowed {
                assert_eq!(answer.header("access-control-allow-credentials"), "true");
                let methods = answer.header("access-control-allow-methods").to_owned();
                assert!(methods.contains("GET"), "{methods}");
                let headers = answer.header("access-control-allow-headers").to_lowercase();
                assert!(headers.contains("authorization"), "{headers}");
            }
            assert!(answer.header("vary").to_lowercase().contains("origin"), "{answer:?}");

            let request = [("origin", origin), ("authorization", authorization.as_str())];
            let answer = shared.worker.send(Method::GET, &path, &request).await;
            assert_eq!(answer.status, 200, "{origin}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
            if allowed {
                let exposed = answer.header("access-control-expose-headers").to_lowercase();
                assert!(exposed.contains("x-request-id"), "{exposed}");
            }
            // An error can be read by those who may read, too.
            let answer = shared.worker.send(Method::GET, &path, &request[..1]).await;
            assert_error(&answer, 401, origin);
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
        }
    });
}
