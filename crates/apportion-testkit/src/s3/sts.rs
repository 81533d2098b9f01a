use super::keys::Keys;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Answers one AssumeRole, or one with a web identity (whose token isn't looked into): the status, and the text.
pub(super) fn assume_role(keys: &Keys, form: &[u8]) -> (u16, String) {
    let fields = fields_of(form);
    let field = |name: &str| fields.get(name).map(String::as_str);
    let taken = field("RoleArn").and_then(|arn| keys.assume(arn, field("ExternalId"), field("Policy")));
    let Some((key, session, seconds)) = taken else {
        let text = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
            <Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error>\
            <RequestId>1</RequestId></ErrorResponse>";
        return (403, text.to_owned());
    };
    let end = super::objects::now() + std::time::Duration::from_secs(seconds);
    let action = field("Action").unwrap_or("AssumeRole");
    let text = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{}</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>",
        session.secret,
        session.token,
        time_text(end),
    );
    (200, text)
}

pub(super) fn time_text(time: std::time::SystemTime) -> String {
    let mut text = Vec::new();
    let time = s3s::dto::Timestamp::from(time);
    time.format(s3s::dto::TimestampFormat::DateTime, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn fields_of(form: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(form);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// Text without its percent signs.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digits = String::new();
                for digit in rest.by_ref().take(2) {
                    let _ = write!(digits, "{}", digit as char);
                }
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap()
}
