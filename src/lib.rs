//! Analytics for applications that live on `DynamoDB`, computed and served at the edge.

pub mod dynamodb;
pub mod host;
