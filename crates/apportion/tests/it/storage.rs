//! Every bucket passes the same exam.

use crate::harness::temp;
use apportion_flow::storage::Folder;
use apportion_testkit::bucket_exam;

#[test]
fn a_folder_passes_the_exam() {
    let place = temp();
    bucket_exam(&Folder::new(place.path().join("made by the first write")));
}
