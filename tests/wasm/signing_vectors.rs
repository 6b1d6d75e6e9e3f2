//! AWS's published test vectors for Signature Version 4, checked on the host and on wasm.
//!
//! Source: the AWS signing test suite (`aws-signing-test-suite/v4`, Apache-2.0) that is published
//! with the crate `aws-sigv4`; the key and the tokens are AWS's examples.

use chrono::{TimeZone, Utc};
use edge_analytics::dynamodb::{Credentials, sign};

struct Vector {
    name: &'static str,
    session_token: Option<&'static str>,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    signature: &'static str,
}

const VECTORS: &[Vector] = &[
    Vector {
        name: "get-vanilla",
        session_token: None,
        method: "GET",
        path: "/",
        headers: &[],
        body: "",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Vector {
        name: "get-vanilla-query-order-encoded",
        session_token: None,
        method: "GET",
        path: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        headers: &[],
        body: "",
        signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    },
    Vector {
        name: "get-vanilla-empty-query-key",
        session_token: None,
        method: "GET",
        path: "/?Param1=value1",
        headers: &[],
        body: "",
        signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    },
    Vector {
        name: "post-vanilla",
        session_token: None,
        method: "POST",
        path: "/",
        headers: &[],
        body: "",
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    },
    Vector {
        name: "post-vanilla-query",
        session_token: None,
        method: "POST",
        path: "/?Param1=value1",
        headers: &[],
        body: "",
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    },
    Vector {
        name: "post-header-key-sort",
        session_token: None,
        method: "POST",
        path: "/",
        headers: &[("my-header1", "value1")],
        body: "",
        signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    },
    Vector {
        name: "post-header-value-case",
        session_token: None,
        method: "POST",
        path: "/",
        headers: &[("my-header1", "VALUE1")],
        body: "",
        signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    },
    Vector {
        name: "get-header-value-trim",
        session_token: None,
        method: "GET",
        path: "/",
        headers: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        body: "",
        signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    },
    Vector {
        name: "get-vanilla-with-session-token",
        session_token: Some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
        method: "GET",
        path: "/",
        headers: &[],
        body: "",
        signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    },
    Vector {
        name: "post-sts-header-before",
        session_token: Some(
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        ),
        method: "POST",
        path: "/",
        headers: &[],
        body: "",
        signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    },
    Vector {
        name: "post-x-www-form-urlencoded",
        session_token: None,
        method: "POST",
        path: "/",
        headers: &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-length", "13"),
            (
                "x-amz-content-sha256",
                "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            ),
        ],
        body: "Param1=value1",
        signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    },
    Vector {
        name: "post-x-www-form-urlencoded-parameters",
        session_token: None,
        method: "POST",
        path: "/",
        headers: &[
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("content-length", "13"),
            (
                "x-amz-content-sha256",
                "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            ),
        ],
        body: "Param1=value1",
        signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    },
    Vector {
        name: "get-unreserved",
        session_token: None,
        method: "GET",
        path: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        headers: &[],
        body: "",
        signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    },
];

/// Signs every vector's request and compares the signature.
pub fn check() {
    let time = Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).unwrap();
    for vector in VECTORS {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            vector.session_token.map(str::to_owned),
        );
        let mut request = http::Request::builder()
            .method(vector.method)
            .uri(format!("https://example.amazonaws.com{}", vector.path));
        for (name, value) in vector.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(vector.body.to_owned()).unwrap();
        sign(&mut request, &credentials, "us-east-1", "service", time).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(header("x-amz-date"), "20150830T123600Z", "{}", vector.name);
        let authorization = header("authorization");
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert!(authorization.contains(scope), "{}: {authorization}", vector.name);
        let signature = authorization.rsplit("Signature=").next().unwrap();
        assert_eq!(signature, vector.signature, "{}", vector.name);
        if let Some(token) = vector.session_token {
            assert_eq!(header("x-amz-security-token"), token, "{}", vector.name);
        }
    }
}
