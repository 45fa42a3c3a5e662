//! `commands.sh`: the commands that bring the image to AWS, for a person to read and run. Each step is remembered next to
//! the bundle, so that a run that was cut off goes on where it was. What would fail late is asked before anything is sent.

use super::block_map::{Blocks, volume_gib};
use super::import_image::ROOT_DEVICE;
use super::options::Key;
use super::policies::statements;
use super::{Import, NO_BUCKET};
use coldforge_base::digest::Digest;

/// Puts a text between single quotes, so that a shell takes it as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the script.
pub fn commands(import: &Import<'_>) -> String {
    let options = import.options;
    let region = match &options.region {
        Some(region) => quoted(region),
        None => "${AWS_REGION:?set it to the region of your S3 bucket}".to_owned(),
    };
    let digest = import.sha256.map(|digest| digest.to_string()).unwrap_or_default();
    // What the remembered steps are about: another image under the same name is another one.
    let identity = Digest::of(format!("{}\0{}\0{digest}", import.image, import.linear).as_bytes());
    let blocks = Blocks::of(import);
    let role: Vec<String> =
        statements(options).iter().map(|statement| format!("\n    {}", quoted(&statement.to_string()))).collect();
    let key = options.home_key().map(|key| Key::parse(&key).and_then(Key::arn).unwrap_or(key)).unwrap_or_default();
    let values = [
        ("@IMAGE@", quoted(&format!("../{}", import.image))),
        ("@NO_BUCKET@", NO_BUCKET.to_owned()),
        ("@KEY@", quoted(&import.object())),
        ("@REGION@", region),
        ("@ROLE@", quoted(&options.role_name)),
        ("@LICENSE@", quoted(&license(import))),
        ("@STATEMENTS@", role.concat()),
        ("@SHA256@", quoted(&digest)),
        ("@IDENTITY@", quoted(&identity.to_string())),
        ("@FORMAT@", quoted(import.format.word())),
        ("@DESCRIPTION@", quoted(&import.description())),
        ("@GIB@", volume_gib(import.disk_bytes).to_string()),
        ("@BLOCKS@", blocks.count.to_string()),
        ("@LINEAR@", quoted(&blocks.checksum)),
        ("@KMS@", quoted(&key)),
        ("@BOOT_MODE@", import.boot_mode.to_string()),
        ("@DEVICE@", ROOT_DEVICE.to_owned()),
        ("@TAGS@", quoted(&serde_json::Value::from(import.tags()).to_string())),
        ("@SHAREABLE@", shareable(import)),
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

/// Returns the words of `aws ec2 import-image` that name the licence.
fn license(import: &Import<'_>) -> String {
    match import.options.license.as_deref() {
        Some(word @ ("AWS" | "BYOL")) => format!("--license-type {word}"),
        Some(arn) => format!("--license-specifications LicenseConfigurationArn={arn}"),
        None => "--license-type AWS".to_owned(),
    }
}

/// Returns the regions where there will be an image, each with the name that the key has there; the first is the one
/// where the image is made.
fn places<'a>(import: &Import<'a>) -> Vec<(&'a str, Option<String>)> {
    let options = import.options;
    let key = |region: &str| options.key_of_snapshot().and_then(|key| key.in_region(region));
    let copies = options.further_regions().map(|region| (region.as_str(), key(region)));
    std::iter::once(("$home_region", options.home_key())).chain(copies).collect()
}

/// Returns the commands that ask whether the image can be shared where it will be.
fn shareable(import: &Import<'_>) -> String {
    if import.options.account_ids.is_empty() {
        return String::new();
    }
    let one = |(region, key): (&str, Option<String>)| {
        format!("  shareable \"{region}\" {}\n", quoted(&key.unwrap_or_default()))
    };
    places(import).into_iter().map(one).collect()
}

/// Returns the commands that share the image, and copy it to further regions.
fn distribute(import: &Import<'_>) -> String {
    let added: Vec<String> = import.options.account_ids.iter().map(|account| format!("{{UserId={account}}}")).collect();
    let share = match added.is_empty() {
        true => String::new(),
        false => quoted(&format!("Add=[{}]", added.join(","))),
    };
    let mut text = String::new();
    for (number, (region, key)) in places(import).into_iter().enumerate() {
        let mut image = "ami";
        if number > 0 {
            image = "copy";
            let key = key.map(|key| format!(" --encrypted --kms-key-id {}", quoted(&key))).unwrap_or_default();
            let name = quoted(&import.name());
            text.push_str(&format!(
                "  copy=$(once copy-{region} aws ec2 copy-image --region {region} --source-region \"$home_region\" \\\n    \
                --source-image-id \"$ami\" --name {name} --description \"$description\"{key} \\\n    \
                --client-token \"$token-{region}\" --query ImageId --output text)\n  \
                finish {region} \"$copy\"\n"
            ));
        }
        if !share.is_empty() {
            text.push_str(&format!("  share \"{region}\" \"${image}\" {share}\n"));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("  distributable\n{text}"),
    }
}

const SCRIPT: &str = r#"#!/usr/bin/env bash
# Brings this image to AWS. Read it first: it is made of the bundle, and nothing in it was run.
# usage: commands.sh import-image | snapshot | direct
#   import-image  upload to S3; AWS changes the image, installs drivers and starts it once
#   snapshot      upload to S3; a snapshot of the disk as it is, registered as an image
#   direct        the same without S3: blocks are sent to EBS one by one (for disks with little data)
# Needs the AWS CLI. Each step is remembered in STATE_DIR (beside the bundle); run it again to go on where it stopped.
# Ends with 2 if it was asked for something impossible, with 3 if it refuses to begin or to go on.
# Words in single quotes are meant as they stand.
# shellcheck disable=SC2016
set -euo pipefail
shopt -s inherit_errexit
umask 077

# Says what is wrong and what to do, and ends.
refuse() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit "${3:-3}"
}

# Files that the caller names lie where the caller is.
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

route=${1:-}
image=${IMAGE:+$(absolute "$IMAGE")}
folder=${STATE_DIR:+$(absolute "$STATE_DIR")}
# An exported CDPATH would lead into another folder of this name.
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
image=${image:-@IMAGE@}
format=@FORMAT@
home_region=@REGION@
license=@LICENSE@
description=@DESCRIPTION@
kms_key=@KMS@
export AWS_REGION=$home_region AWS_DEFAULT_REGION=$home_region
bundle=$(cd .. && pwd)
folder=${folder:-$bundle.aws-state}
state=$folder/$route

# Makes a folder that nobody but the caller reads or writes. What is in it is believed later, so that one that somebody
# else can have filled is refused.
private() {
  mkdir -m 700 -- "$1" 2>/dev/null || true
  if [[ -L $1 || ! -d $1 || ! -O $1 || -n $(find "$1" -maxdepth 0 \( -perm -020 -o -perm -002 \)) ]]; then
    refuse "$1 is not a folder of yours alone" "remove it, or name another folder with STATE_DIR"
  fi
  chmod 700 -- "$1"
}

# Makes the folder of the remembered steps, which are about this image and no other.
remember() {
  local of=@IDENTITY@
  # Links on the way are followed: what counts is where the files would lie.
  case $(realpath -m -- "$folder")/ in
    "$(cd -P .. && pwd -P)"/*) refuse "$folder lies in the bundle" "name a folder outside of it with STATE_DIR" ;;
  esac
  mkdir -p -- "$(dirname -- "$folder")"
  private "$folder"
  private "$state"
  [[ -e $state/image-identity ]] || echo "$of" >"$state/image-identity"
  if [[ $(<"$state/image-identity") != "$of" ]]; then
    refuse "$state remembers the steps of another image" "remove it to begin anew, or name another folder with STATE_DIR"
  fi
}

# Runs a step that prints an id, and remembers it.
once() {
  local file=$state/$1
  shift
  if [[ ! -s $file ]]; then
    "$@" >"$file.new"
    mv -- "$file.new" "$file"
  fi
  cat -- "$file"
}

new_token() { echo "coldforge-$(date +%s)-$RANDOM"; }

# Finds the bucket that the request names, and asks whether the import can read it, before anything is sent there.
find_bucket() {
  local request=$1 there
  bucket=$(sed -n 's/^ *"S3Bucket": "\([A-Za-z0-9.-]*\)",*$/\1/p' "$request")
  if [[ -z $bucket || $bucket == @NO_BUCKET@ ]]; then
    refuse "$request names no bucket" "run coldforge harden with --bucket, or put yours where @NO_BUCKET@ stands" 2
  fi
  if [[ -n ${BUCKET:-} && $BUCKET != "$bucket" ]]; then
    refuse "BUCKET is $BUCKET, and $request names $bucket: the import would not find the image" \
      "unset BUCKET, or run coldforge harden with --bucket $BUCKET" 2
  fi
  there=$(aws s3api get-bucket-location --bucket "$bucket" --query LocationConstraint --output text)
  case $there in
    None | null | '') there=us-east-1 ;;
    EU) there=eu-west-1 ;;
  esac
  if [[ $there != "$home_region" ]]; then
    refuse "the bucket $bucket lies in $there, and the image is made in $home_region: AWS imports within a region" \
      "name a bucket in $home_region, or run coldforge harden with --region $there" 2
  fi
}

# Asks whether an image in a region can be shared: one that the default key of EBS encrypts cannot.
shareable() {
  local region=$1 key=$2 on manager
  if [[ -z $key ]]; then
    on=$(aws ec2 get-ebs-encryption-by-default --region "$region" --query EbsEncryptionByDefault --output text)
    if [[ $on != True ]]; then return; fi
    key=$(aws ec2 get-ebs-default-kms-key-id --region "$region" --query KmsKeyId --output text)
  fi
  manager=AWS
  if [[ $key != *alias/aws/ebs ]]; then
    manager=$(aws kms describe-key --region "$region" --key-id "$key" --query KeyMetadata.KeyManager --output text)
  fi
  if [[ $manager == AWS ]]; then
    refuse "the image would be encrypted in $region by $key, which no other account can use: it cannot be shared" \
      "run coldforge harden with --kms-key and a customer managed key, or without --account-ids"
  fi
}

# Makes the role that VM Import/Export takes on. What its policy already grants stays: other images may hang on it.
role() {
  local role=@ROLE@ statement sum there kept='' own='' added='' mark='"Sid":"'
  local statements=(@STATEMENTS@
  )
  if ! aws iam get-role --role-name "$role" >/dev/null 2>&1; then
    aws iam create-role --role-name "$role" --assume-role-policy-document file://trust-policy.json >/dev/null
  fi
  for statement in "${statements[@]}"; do
    statement=${statement//@NO_BUCKET@/"$bucket"}
    sum=$(printf '%s' "$statement" | sha256sum)
    sum=${sum:0:12}
    own+="${own:+ || }contains(Sid || '', '$sum')"
    added+=${added:+,}${statement/"$mark"/"$mark"Coldforge$sum}
  done
  there=$(aws iam list-role-policies --role-name "$role" --output json --query "contains(PolicyNames, 'coldforge-import')")
  if [[ $there == true ]]; then
    kept=$(aws iam get-role-policy --role-name "$role" --policy-name coldforge-import --output json \
      --query "[PolicyDocument.Statement][] | [?!($own)]")
    kept=${kept#*\[}
    kept=${kept%\]*}
    if [[ $kept == *[![:space:]]* ]]; then added=,$added; fi
  fi
  printf '{"Version":"2012-10-17","Statement":[%s%s]}\n' "$kept" "$added" >"$state/role-policy.json"
  aws iam put-role-policy --role-name "$role" --policy-name coldforge-import \
    --policy-document "file://$state/role-policy.json"
}

upload() {
  local key=@KEY@ sha256=@SHA256@ there
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
        rm -f -- "$state/task" "$state/token"
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

# Compares what AWS bills the image as with what it is. Billing comes with the snapshot, and one that was made of blocks
# or of a file may carry none.
billing() {
  local ami=$1 snapshot=$2 details usage
  read -r usage details < <(aws ec2 describe-images --image-ids "$ami" --output text \
    --query 'Images[0].[UsageOperation||`-`,PlatformDetails||`-`]')
  local import="aws ec2 import-image --platform Windows $license --role-name "@ROLE@" \
--boot-mode @BOOT_MODE@ --disk-containers SnapshotId=$snapshot"
  if [[ $license == '--license-type BYOL' ]]; then
    case $details in
      'Windows BYOL') ;;
      Windows*)
        echo "warning: AWS bills $ami as $details (usage operation $usage): a licence of AWS, although you bring your own" >&2
        ;;
      *)
        cat >&2 <<END
note: AWS bills $ami as $details (usage operation $usage): without a licence of AWS, as you bring your own. For AWS to
know it as Windows BYOL, import the snapshot, which starts the image once:
  $import
END
        ;;
    esac
    return
  fi
  if [[ $details == Windows* ]]; then return; fi
  billed=$details
  cat >&2 <<END
warning: this image is a Windows, and AWS bills $ami as $details (usage operation $usage), so that its instances have no
licence of AWS. To have it billed as a Windows, either
  - import the snapshot with a licence, which starts the image once:
      $import
  - or start an instance of an AMI of AWS with the same Windows, stop it, put a volume made of $snapshot in the place of its
    root volume, and make an image of it with aws ec2 create-image.
Then take this one away: aws ec2 deregister-image --image-id $ami
END
}

# What is billed as something else is neither copied nor shared.
distributable() {
  if [[ -n ${billed:-} && -z ${ACCEPT_BILLING:-} ]]; then
    refuse "the image is billed as $billed, and was neither copied nor shared" \
      "do what the warning says, or run this again with ACCEPT_BILLING=1"
  fi
}

# Prints the state of the snapshot in the making; a snapshot that is not there is gone.
snapshot_state() {
  if ! aws ec2 describe-snapshots --snapshot-ids "$1" --query 'Snapshots[0].State' --output text 2>"$state/failure"; then
    if ! grep -q 'InvalidSnapshot.NotFound' "$state/failure"; then
      cat -- "$state/failure" >&2
      return 1
    fi
    echo gone
  fi
}

# Sends the blocks of block-map.json to EBS, each with its checksum.
direct() {
  local raw=$image arn=$kms_key encrypt=() snapshot token index sum there='' sent=0
  if [[ $format != raw ]]; then
    raw=$state/disk.raw
    [[ -e $raw ]] || coldforge convert --format raw -- "$image" "$raw" >&2
  fi
  if [[ -n $arn ]]; then
    # EBS takes nothing but the ARN of a key.
    [[ $arn == arn:*:key/* ]] || arn=$(aws kms describe-key --key-id "$arn" --query KeyMetadata.Arn --output text)
    encrypt=(--encrypted --kms-key-arn "$arn")
  fi
  if [[ -s $state/direct-snapshot ]]; then
    there=$(snapshot_state "$(<"$state/direct-snapshot")")
    case $there in
      pending | completed) ;;
      *)
        # It got no block for an hour, or was taken away: nothing revives it, and its token gives it again.
        echo "the snapshot $(<"$state/direct-snapshot") is $there: a new one is started" >&2
        rm -rf -- "$state/blocks" "$state/direct-snapshot" "$state/direct-token" "$state/direct-complete"
        ;;
    esac
  fi
  token=$(once direct-token new_token)
  snapshot=$(once direct-snapshot aws ebs start-snapshot --volume-size @GIB@ --description "$description" \
    "${encrypt[@]}" --client-token "$token" --query SnapshotId --output text)
  mkdir -p -- "$state/blocks"
  while read -r index sum; do
    if [[ -e $state/blocks/$index ]]; then continue; fi
    dd if="$raw" of="$state/block" bs=524288 skip="$index" count=1 status=none
    truncate -s 524288 -- "$state/block"
    aws ebs put-snapshot-block --snapshot-id "$snapshot" --block-index "$index" --block-data "$state/block" \
      --data-length 524288 --checksum "$sum" --checksum-algorithm SHA256 >/dev/null
    : >"$state/blocks/$index"
    sent=$((sent + 1))
    echo "block $index" >&2
  done < <(sed -n 's/^{"index":\([0-9]*\),"sha256":"\([^"]*\)"},*$/\1 \2/p' block-map.json)
  if [[ ! -e $state/direct-complete ]]; then
    # The answer of an earlier run may have been lost.
    aws ebs complete-snapshot --snapshot-id "$snapshot" --changed-blocks-count @BLOCKS@ --checksum @LINEAR@ \
      --checksum-algorithm SHA256 --checksum-aggregation-method LINEAR >/dev/null || [[ $sent == 0 && $there == completed ]]
    : >"$state/direct-complete"
  fi
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
  local ami snapshot='' task copy bucket token billed=''
  if [[ $route != direct ]]; then find_bucket "import-${route#import-}.json"; fi
@SHAREABLE@  remember
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
  if [[ -n $snapshot ]]; then billing "$ami" "$snapshot"; fi
@DISTRIBUTE@  : "${copy:=}" "$billed"
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
