//! `commands.sh`: the commands that bring the image to AWS, for a person to read and run. Each step is remembered beside
//! the bundle, so that a run that was cut off goes on where it was.

use super::block_map::{Blocks, volume_gib};
use super::distribution::key_in;
use super::import_image::ROOT_DEVICE;
use super::{Import, NO_BUCKET};

/// Puts a text between single quotes, so that a shell takes it as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the script.
pub fn commands(import: &Import<'_>) -> String {
    let options = import.options;
    let bucket = match options.bucket.as_str() {
        NO_BUCKET => "${BUCKET:?set it to the name of your S3 bucket, and run coldforge with --bucket}".to_owned(),
        bucket => quoted(bucket),
    };
    let region = match &options.region {
        Some(region) => quoted(region),
        None => "${AWS_REGION:?set it to the region of your S3 bucket}".to_owned(),
    };
    let digest = import.sha256.map(|digest| digest.to_string()).unwrap_or_default();
    let blocks = Blocks::of(import);
    let values = [
        ("@IMAGE@", quoted(&format!("../{}", import.image))),
        ("@BUCKET@", bucket),
        ("@KEY@", quoted(&options.key(import.image))),
        ("@REGION@", region),
        ("@ROLE@", quoted(&options.role_name)),
        ("@SHA256@", quoted(&digest)),
        ("@FORMAT@", quoted(import.format.word())),
        ("@DESCRIPTION@", quoted(&import.description())),
        ("@GIB@", volume_gib(import.disk_bytes).to_string()),
        ("@BLOCKS@", blocks.count.to_string()),
        ("@LINEAR@", quoted(&blocks.checksum)),
        (
            "@ENCRYPT@",
            options
                .kms_key
                .as_ref()
                .map_or_else(String::new, |key| format!(" --encrypted --kms-key-arn {}", quoted(key))),
        ),
        ("@DEVICE@", ROOT_DEVICE.to_owned()),
        ("@TAGS@", quoted(&serde_json::Value::from(import.tags()).to_string())),
        ("@DISTRIBUTE@", distribute(import)),
    ];
    // In one pass, so that no value is taken for a name.
    let mut script = String::new();
    let mut rest = SCRIPT;
    while let Some(at) = rest.find('@') {
        let (head, tail) = rest.split_at(at);
        script.push_str(head);
        match values.iter().find(|(name, _)| tail.starts_with(name)) {
            Some((name, value)) => {
                script.push_str(value);
                rest = tail.get(name.len()..).unwrap_or_default();
            }
            None => {
                script.push('@');
                rest = tail.get(1..).unwrap_or_default();
            }
        }
    }
    script.push_str(rest);
    script
}

/// Returns the commands that copy the image to further regions, and share it.
fn distribute(import: &Import<'_>) -> String {
    let options = import.options;
    let added: Vec<String> = options.account_ids.iter().map(|account| format!("{{UserId={account}}}")).collect();
    let share = match added.is_empty() {
        true => String::new(),
        false => quoted(&format!("Add=[{}]", added.join(","))),
    };
    let mut text = String::new();
    if !share.is_empty() {
        text.push_str(&format!("  share \"$home_region\" \"$ami\" {share}\n"));
    }
    for region in options.further_regions() {
        let key = match &options.kms_key {
            None => String::new(),
            Some(key) => match key_in(key, region) {
                Some(key) => format!(" --encrypted --kms-key-id {}", quoted(&key)),
                None => " --encrypted".to_owned(),
            },
        };
        let name = quoted(&import.name());
        text.push_str(&format!(
            "  copy=$(once copy-{region} aws ec2 copy-image --region {region} --source-region \"$home_region\" \\\n    \
            --source-image-id \"$ami\" --name {name} --description \"$description\"{key} \\\n    \
            --client-token \"$token-{region}\" --query ImageId --output text)\n  \
            finish {region} \"$copy\"\n"
        ));
        if !share.is_empty() {
            text.push_str(&format!("  share {region} \"$copy\" {share}\n"));
        }
    }
    text
}

const SCRIPT: &str = r#"#!/usr/bin/env bash
# Brings this image to AWS. Read it first: it is made of the bundle, and nothing in it was run.
# usage: commands.sh import-image | snapshot | direct
#   import-image  upload to S3; AWS changes the image, installs drivers and starts it once
#   snapshot      upload to S3; a snapshot of the disk as it is, registered as an image
#   direct        the same without S3: blocks are sent to EBS one by one (for disks with little data)
# Needs the AWS CLI. Each step is remembered in STATE_DIR (beside the bundle); run it again to go on where it stopped.
# Words in single quotes are meant as they stand.
# shellcheck disable=SC2016
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")"

route=${1:-}
image=${IMAGE:-@IMAGE@}
format=@FORMAT@
home_region=@REGION@
description=@DESCRIPTION@
export AWS_REGION=$home_region AWS_DEFAULT_REGION=$home_region
bundle=$(cd .. && pwd)
state=${STATE_DIR:-$bundle.aws-state}/$route

# Runs a step that prints an id, and remembers it.
once() {
  local file=$state/$1
  shift
  if [[ ! -s $file ]]; then
    "$@" >"$file.new"
    mv "$file.new" "$file"
  fi
  cat "$file"
}

new_token() { echo "coldforge-$(date +%s)-$RANDOM"; }

role() {
  local role=@ROLE@
  if ! aws iam get-role --role-name "$role" >/dev/null 2>&1; then
    aws iam create-role --role-name "$role" --assume-role-policy-document file://trust-policy.json >/dev/null
  fi
  aws iam put-role-policy --role-name "$role" --policy-name coldforge-import --policy-document file://role-policy.json
}

upload() {
  local bucket=@BUCKET@ key=@KEY@ sha256=@SHA256@ there
  if [[ -n $sha256 ]]; then
    printf '%s  %s\n' "$sha256" "$image" | sha256sum --check --quiet
    there=$(aws s3api head-object --bucket "$bucket" --key "$key" --query Metadata.sha256 --output text 2>/dev/null || true)
    if [[ $there == "$sha256" ]]; then return; fi
  fi
  aws s3 cp "$image" "s3://$bucket/$key" --metadata "sha256=${sha256:-unknown}"
}

# Waits for a task, with progress; prints the id that comes of it.
await() {
  local status progress message id
  while :; do
    read -r status progress id message < <("$@")
    echo "$status $progress% $message" >&2
    case $status in
      completed) echo "$id"; return ;;
      deleted | deleting | error)
        # The next run starts a new task.
        rm -f "$state/task" "$state/token"
        return 1
        ;;
      *) sleep "${POLL_SECONDS:-30}" ;;
    esac
  done
}

finish() {
  aws ec2 wait image-available --region "$1" --image-ids "$2"
  aws ec2 create-tags --region "$1" --resources "$2" --tags @TAGS@
}

share() { aws ec2 modify-image-attribute --region "$1" --image-id "$2" --launch-permission "$3"; }

register() {
  once image aws ec2 register-image --cli-input-json file://register-image.json --query ImageId --output text \
    --block-device-mappings "DeviceName=@DEVICE@,Ebs={SnapshotId=$1,VolumeType=gp3,DeleteOnTermination=true}"
}

# Sends the blocks that hold data to EBS, each with its checksum.
direct() {
  local raw=$image snapshot index sum
  if [[ $format != raw ]]; then
    raw=$state/disk.raw
    [[ -e $raw ]] || coldforge convert "$image" "$raw" --format raw >&2
  fi
  snapshot=$(once direct-snapshot aws ebs start-snapshot --volume-size @GIB@ --description "$description"@ENCRYPT@ \
    --client-token "$token" --query SnapshotId --output text)
  mkdir -p "$state/blocks"
  while read -r index sum; do
    if [[ -e $state/blocks/$index ]]; then continue; fi
    dd if="$raw" of="$state/block" bs=524288 skip="$index" count=1 status=none
    truncate -s 524288 "$state/block"
    aws ebs put-snapshot-block --snapshot-id "$snapshot" --block-index "$index" --block-data "$state/block" \
      --data-length 524288 --checksum "$sum" --checksum-algorithm SHA256 >/dev/null
    : >"$state/blocks/$index"
    echo "block $index" >&2
  done < <(sed -n 's/^{"index":\([0-9]*\),"sha256":"\([^"]*\)"},*$/\1 \2/p' block-map.json)
  aws ebs complete-snapshot --snapshot-id "$snapshot" --changed-blocks-count @BLOCKS@ --checksum @LINEAR@ \
    --checksum-algorithm SHA256 --checksum-aggregation-method LINEAR >/dev/null
  aws ec2 wait snapshot-completed --snapshot-ids "$snapshot"
  echo "$snapshot"
}

# Called by `await` with its words.
# shellcheck disable=SC2317,SC2329
image_task() {
  aws ec2 describe-import-image-tasks --import-task-ids "$1" --output text \
    --query 'ImportImageTasks[0].[Status,Progress||`0`,ImageId||`-`,StatusMessage||`-`]'
}

# shellcheck disable=SC2317,SC2329
snapshot_task() {
  aws ec2 describe-import-snapshot-tasks --import-task-ids "$1" --output text \
    --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.[Status,Progress||`0`,SnapshotId||`-`,StatusMessage||`-`]'
}

main() {
  local ami snapshot task copy
  mkdir -p "$state"
  token=$(once token new_token)
  case $route in
    import-image)
      role
      upload
      task=$(once task aws ec2 import-image --cli-input-json file://import-image.json --client-token "$token" \
        --query ImportTaskId --output text)
      ami=$(once image await image_task "$task")
      ;;
    snapshot)
      role
      upload
      task=$(once task aws ec2 import-snapshot --cli-input-json file://import-snapshot.json --client-token "$token" \
        --query ImportTaskId --output text)
      snapshot=$(once snapshot await snapshot_task "$task")
      ami=$(register "$snapshot")
      ;;
    direct)
      snapshot=$(once snapshot direct)
      ami=$(register "$snapshot")
      ;;
  esac
  finish "$home_region" "$ami"
@DISTRIBUTE@  : "${copy:=}"
  echo "$ami"
}

case $route in
  import-image | snapshot | direct) main ;;
  *)
    echo "usage: commands.sh import-image | snapshot | direct" >&2
    exit 2
    ;;
esac
"#;
