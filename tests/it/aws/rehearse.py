"""Rehearses a bundle's aws/commands.sh on loopback: usage rehearse.py BUNDLE RAW ROUTE.

The endpoint is moto's, with a strict face of our own before it: what moto takes at its word (the checksums and counts of
EBS direct) is held against the bytes, and what moto does not have (import-image, import-snapshot) looks at the uploaded
container, the role and its policies. Each route is cut off once and run again. Nothing leaves the machine.
Says what is wrong and ends with 1.
"""

import base64
import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
import uuid

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

BLOCK = 512 << 10
HOME = "eu-north-1"
bundle, raw_path, route = sys.argv[1:4]
os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", AWS_EC2_METADATA_DISABLED="true")
wrong = []


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class Refused(Exception):
    pass


def body_of(request):
    """The body of a request, which is left there for who reads it next."""
    data = request.get_data(cache=True)
    request.environ.update({"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})
    request.environ.pop("HTTP_TRANSFER_ENCODING", None)
    return data


class Endpoint:
    """moto, and the checks before it."""

    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.tasks, self.tokens, self.blocks, self.sizes = {}, {}, {}, {}
        self.fail_block = self.fail_task = False
        self.puts, self.billing = [], None

    def client(self, name, region=HOME):
        return boto3.client(name, region_name=region, endpoint_url=self.url)

    def __call__(self, environ, start):
        request = Request(environ)
        try:
            answer = self.ebs(request) or self.ec2(request)
        except Refused as error:
            reason = str(error)
            if request.path.startswith("/snapshots"):
                answer = Response(json.dumps({"Message": reason, "Reason": "INVALID_PARAMETER_VALUE"}), 400)
                answer.headers["x-amzn-ErrorType"] = "ValidationException"
            else:
                code = f"<Error><Code>InvalidParameter</Code><Message>{reason}</Message></Error>"
                answer = Response(f"<Response><Errors>{code}</Errors></Response>", 400)
        if self.billing and not answer and request.method == "POST":
            form = dict(urllib.parse.parse_qsl(body_of(request).decode(errors="replace")))
            if form.get("Action") == "DescribeImages":
                # moto knows no billing.
                answer = Response.from_app(self.moto, environ)
                billing = f"<platformDetails>{self.billing}</platformDetails><usageOperation>RunInstances:0002</usageOperation>"
                answer.set_data(answer.get_data(as_text=True).replace("</imageId>", "</imageId>" + billing))
        return (answer or self.moto)(environ, start)

    def ebs(self, request):
        """What EBS direct demands of a block, and of the whole."""
        place = re.fullmatch(r"/snapshots/(?:completion/)?(snap-\w+)(?:/blocks/(\d+))?", request.path)
        if not place or request.method == "GET":
            if request.path == "/snapshots" and request.method == "POST":
                asked = json.loads(body_of(request))
                if asked["VolumeSize"] * (1 << 30) < os.path.getsize(raw_path):
                    raise Refused("the volume is smaller than the disk")
                key = asked.get("KmsKeyArn")
                if key and not re.fullmatch(r"arn:aws[a-z\-]*:kms:.*:[0-9]{12}:key/.*", key):
                    raise Refused(f"{key} is not the ARN of a key")
                if bool(key) != ("kms_key" in options and bool(options["kms_key"])):
                    raise Refused("the key is missing")
            return None
        snapshot, index = place.groups()
        blocks = self.blocks.setdefault(snapshot, {})
        head = request.headers
        if index is None:
            digests = b"".join(hashlib.sha256(blocks[one]).digest() for one in sorted(blocks))
            if int(head["x-amz-ChangedBlocksCount"]) != len(blocks):
                raise Refused(f"{len(blocks)} blocks came, not {head['x-amz-ChangedBlocksCount']}")
            if (head["x-amz-Checksum-Algorithm"], head["x-amz-Checksum-Aggregation-Method"]) != ("SHA256", "LINEAR"):
                raise Refused("an unknown checksum")
            if head["x-amz-Checksum"] != sha256(digests):
                raise Refused("the checksum of the snapshot differs")
            return None
        data = body_of(request)
        if len(data) != BLOCK or int(head["x-amz-Data-Length"]) != BLOCK:
            raise Refused(f"a block of {len(data)} bytes")
        if head["x-amz-Checksum-Algorithm"] != "SHA256" or head["x-amz-Checksum"] != sha256(data):
            raise Refused(f"block {index} has another checksum")
        if self.fail_block and len(blocks) == 5:
            self.fail_block = False
            raise Refused("the connection went away")
        blocks[int(index)] = data
        self.puts.append(int(index))
        return None

    def ec2(self, request):
        if request.method != "POST" or "form-urlencoded" not in request.headers.get("Content-Type", ""):
            return None
        form = dict(urllib.parse.parse_qsl(body_of(request).decode()))
        action = form.get("Action", "")
        if action == "RegisterImage":
            self.registered = form
        if action == "CopyImage":
            self.copied = form
        if action == "GetEbsDefaultKmsKeyId":
            return self.reply(action, "<kmsKeyId>alias/aws/ebs</kmsKeyId>")
        kind = {"ImportImage": "Image", "ImportSnapshot": "Snapshot"}.get(action.removeprefix("Describe").removesuffix("Tasks"))
        if not kind:
            return None
        if action.startswith("Import"):
            return self.reply(action, f"<importTaskId>{self.start(kind, form)}</importTaskId>")
        task = self.tasks[form["ImportTaskId.1"]]
        state = self.advance(kind, task)
        if kind == "Snapshot":
            state = f"<snapshotTaskDetail>{state}</snapshotTaskDetail>"
        return self.reply(action, f"<import{kind}TaskSet><item>{state}</item></import{kind}TaskSet>")

    @staticmethod
    def reply(action, inside):
        space = "http://ec2.amazonaws.com/doc/2016-11-15/"
        text = f'<{action}Response xmlns="{space}"><requestId>1</requestId>{inside}</{action}Response>'
        return Response(text, content_type="text/xml")

    def start(self, kind, form):
        """Takes an import, if the container, the role and the words are such that Amazon would."""
        token = form["ClientToken"]
        if token in self.tokens:
            return self.tokens[token]
        head = "DiskContainer.1." if kind == "Image" else "DiskContainer."
        bucket, key = form[head + "UserBucket.S3Bucket"], form[head + "UserBucket.S3Key"]
        data = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        marks = {"VHD": data[-512:-504] == b"conectix", "VMDK": data[:4] == b"KDMV", "RAW": data[510:512] == b"\x55\xaa"}
        if not marks.get(form[head + "Format"].upper()):
            raise Refused(f"the object is no {form[head + 'Format']}")
        if kind == "Image":
            words = (form["Architecture"], form["Platform"], form["BootMode"])
            if words != ("x86_64", "Windows", "legacy-bios"):
                raise Refused(f"{words}")
        role = form["RoleName"]
        trust = self.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        if trust["Statement"][0]["Principal"] != {"Service": "vmie.amazonaws.com"}:
            raise Refused("the service must not assume the role")
        policy = self.client("iam").get_role_policy(RoleName=role, PolicyName="coldforge-import")["PolicyDocument"]
        objects = [one["Resource"] for one in policy["Statement"] if "s3:GetObject" in one["Action"]]
        if f"arn:aws:s3:::{bucket}/win/*" not in objects:
            raise Refused("the role must not read the bucket below its prefix")
        name = f"import-{'ami' if kind == 'Image' else 'snap'}-{uuid.uuid4().hex[:17]}"
        self.tasks[name] = {"asked": 0, "made": None, "fails": self.fail_task}
        self.fail_task = False
        self.tokens[token] = name
        return name

    def advance(self, kind, task):
        task["asked"] += 1
        if task["asked"] == 1:
            return "<status>active</status><progress>28</progress><statusMessage>converting</statusMessage>"
        if task["fails"]:
            return "<status>deleted</status><statusMessage>ClientError: Unsupported configuration</statusMessage>"
        if not task["made"]:
            ec2 = self.client("ec2")
            volume = ec2.create_volume(AvailabilityZone=HOME + "a", Size=1)["VolumeId"]
            made = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
            if kind == "Image":
                disk = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": made}}
                made = ec2.register_image(Name=uuid.uuid4().hex, BlockDeviceMappings=[disk])["ImageId"]
            task["made"] = made
        return f"<status>completed</status><progress>100</progress><{kind.lower()}Id>{task['made']}</{kind.lower()}Id>"


endpoint = Endpoint()
with open(os.path.join(bundle, "aws", "options.json"), encoding="utf-8") as file:
    options = json.load(file)
role, own = options["role_name"], options["license"] == "BYOL"
server = make_server("127.0.0.1", 0, endpoint, threaded=True)
endpoint.url = f"http://127.0.0.1:{server.port}"
logging.getLogger("werkzeug").setLevel("ERROR")
threading.Thread(target=server.serve_forever, daemon=True).start()


def commands(folder, state, **more):
    tools = os.path.dirname(sys.executable)
    words = {"PATH": f"{tools}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": endpoint.url, "POLL_SECONDS": "0"}
    script = os.path.join(folder, "aws", "commands.sh")
    environment = {**os.environ, **words, "STATE_DIR": state, "AWS_MAX_ATTEMPTS": "1", **more}
    return subprocess.run([script, route], capture_output=True, text=True, env=environment)


def expect(holds, what, done=None):
    if not holds:
        wrong.append(what + (f": {done.returncode}\n{done.stdout}\n{done.stderr}" if done else ""))


def deceived(name, change):
    """Runs a copy of the bundle that lies in one place; the endpoint must find it."""
    lie = f"{bundle}-{name}"
    shutil.copytree(bundle, lie)
    change(os.path.join(lie, "aws"))
    done = commands(lie, lie + "-state")
    expect(done.returncode != 0 and "ValidationException" in done.stderr, f"{name} went through", done)
    shutil.rmtree(lie)


def edit(file, pattern, to):
    def change(folder):
        path = os.path.join(folder, file)
        with open(path, encoding="utf-8") as opened:
            text = opened.read()
        new = re.sub(pattern, to, text, count=1)
        assert new != text, pattern
        with open(path, "w", encoding="utf-8") as opened:
            opened.write(new)

    return change


def refused(what, word, code, change=None, state=None, **more):
    """Runs a bundle that must be refused before anything is sent; `change` is made in a copy of it."""
    folder = f"{bundle}-{what}"
    shutil.copytree(bundle, folder)
    if change:
        change(os.path.join(folder, "aws"))
    done = commands(folder, state or folder + "-state", **more)
    said = done.returncode == code and word in done.stderr and "hint: " in done.stderr
    expect(said, f"{what} was not refused", done)
    shutil.rmtree(folder)
    there = endpoint.client("s3").list_objects_v2(Bucket="images").get("Contents", [])
    expect(not there and not endpoint.puts, f"{what}: something was sent")


endpoint.client("s3").create_bucket(Bucket="images", CreateBucketConfiguration={"LocationConstraint": HOME})
if options.get("kms_key"):
    kms = endpoint.client("kms")
    kms.create_alias(AliasName=options["kms_key"], TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])

# What others may have filled is not believed.
open_to_all, elsewhere = bundle + "-open", bundle + "-link"
os.mkdir(open_to_all)
os.chmod(open_to_all, 0o777)
refused("state-of-all", "not a folder of yours alone", 3, state=open_to_all)
os.symlink(bundle, elsewhere)
refused("state-by-link", "not a folder of yours alone", 3, state=elsewhere)
os.symlink(bundle + "-state-behind-a-link", elsewhere + "-2")
refused("state-behind-a-link", "lies in the bundle", 3, state=elsewhere + "-2/aws/new/state")
refused("state-inside", "lies in the bundle", 3, state=f"{bundle}-state-inside/aws/state")
foreign = bundle + "-foreign"
os.makedirs(os.path.join(foreign, route), mode=0o700)
with open(os.path.join(foreign, route, "image-identity"), "w", encoding="utf-8") as file:
    file.write("another image\n")
refused("state-of-another", "another image", 3, state=foreign)
if route != "direct":
    refused("bucket", "BUCKET is others", 2, BUCKET="others")
    refused("no-bucket", "names no bucket", 2, edit(f"import-{route.removeprefix('import-')}.json", '"images"', '"YOUR-BUCKET"'))
    refused("region", "lies in eu-north-1", 2, edit("commands.sh", "home_region='eu-north-1'", "home_region='eu-west-1'"))
    # The role is somebody else's as well.
    iam, other = endpoint.client("iam"), "arn:aws:s3:::others/*"
    with open(os.path.join(bundle, "aws", "trust-policy.json"), encoding="utf-8") as file:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=file.read())
    theirs = {"Sid": "Image", "Effect": "Allow", "Action": "s3:GetObject", "Resource": other}
    policy = json.dumps({"Version": "2012-10-17", "Statement": theirs})
    iam.put_role_policy(RoleName=role, PolicyName="coldforge-import", PolicyDocument=policy)
if options["account_ids"]:
    there = endpoint.client("ec2", "eu-west-1")
    there.enable_ebs_encryption_by_default()
    refused("default-key", "cannot be shared", 3)
    there.disable_ebs_encryption_by_default()

if route == "direct":
    # A snapshot that died while nobody sent anything.
    dead = bundle + "-dead"
    endpoint.fail_block = True
    commands(bundle, dead)
    with open(os.path.join(dead, route, "direct-snapshot"), encoding="utf-8") as file:
        lost = file.read().strip()
    endpoint.client("ec2").delete_snapshot(SnapshotId=lost)
    done = commands(bundle, dead)
    expect(done.returncode == 0 and "a new one is started" in done.stderr, "a dead snapshot was not replaced", done)
    endpoint.client("ec2").deregister_image(ImageId=done.stdout.strip())
    endpoint.puts = []

state = bundle + "-state"
endpoint.fail_block = endpoint.fail_task = True
first = commands(bundle, state)
reason = "the connection went away" if route == "direct" else "Unsupported configuration"
expect(first.returncode != 0 and reason in first.stderr, "the run that was cut off said nothing", first)
again = commands(bundle, state)
if route == "snapshot":
    # A snapshot made of a file carries no billing; what is made of it is neither copied nor shared, unless the licence is
    # the user's own.
    meant = f"{'--license-type BYOL' if own else '--license-type AWS'} --role-name {role} --boot-mode"
    expect(f"aws ec2 import-image --platform Windows {meant}" in again.stderr, "the advice forgets an option", again)
if route == "snapshot" and own:
    expect(again.returncode == 0 and "note: AWS bills" in again.stderr, "an own licence was not taken for one", again)
    endpoint.billing = "Windows BYOL"
    again = commands(bundle, state)
    expect("AWS bills" not in again.stderr, "a Windows with an own licence was not recognised", again)
elif route == "snapshot":
    warned = "warning: this image is a Windows" in again.stderr and "neither copied nor shared" in again.stderr
    expect(again.returncode == 3 and warned, "nothing was said about billing", again)
    endpoint.billing = "Windows"
    again = commands(bundle, state)
    expect("warning" not in again.stderr, "a Windows was not recognised", again)
expect(again.returncode == 0, "the second run did not end well", again)
if wrong:
    sys.exit("\n".join(wrong))
image = again.stdout.strip()
third = commands(bundle, state)
expect((third.returncode, third.stdout.strip()) == (0, image), "a third run did something else", third)
for folder in [state, os.path.join(state, route)]:
    expect(os.stat(folder).st_mode & 0o777 == 0o700, f"{folder} is open to others")
if route != "direct":
    granted = iam.get_role_policy(RoleName=role, PolicyName="coldforge-import")["PolicyDocument"]["Statement"]
    expect(theirs in granted, f"what another image needs is gone: {granted}")
    with open(os.path.join(bundle, "aws", "role-policy.json"), encoding="utf-8") as file:
        expect(len(granted) == 1 + len(json.load(file)["Statement"]), f"the policy grows: {granted}")
    expect(len({one["Sid"] for one in granted}) == len(granted), f"two statements of one name: {granted}")

found = endpoint.client("ec2").describe_images(Owners=["self"])["Images"]
mine = [one for one in found if one["ImageId"] == image]
if len(mine) != 1:
    sys.exit(f"{image} is none of {found}")
tags = {tag["Key"]: tag["Value"] for tag in mine[0]["Tags"]}
expect(tags.get("Owner") == "it's $(us)" and "coldforge:image-sha256" in tags, f"tags {tags}")
copies = endpoint.client("ec2", "eu-west-1").describe_images(Owners=["self"])["Images"]
expect(len(copies) == (0 if route == "direct" else 1), f"copies {copies}")
if copies and options.get("kms_key"):
    expect(endpoint.copied.get("KmsKeyId") == options["kms_key"], f"{endpoint.copied}")
if copies and options["account_ids"]:
    shared = endpoint.client("ec2", "eu-west-1").describe_image_attribute(
        ImageId=copies[0]["ImageId"], Attribute="launchPermission"
    )
    expect(shared["LaunchPermissions"] == [{"UserId": "111122223333"}], f"{shared}")
expect([one for one in found if one["ImageId"] != image and one["Name"].startswith("ws2022-")] == [], "copied at home")

if route == "direct":
    # moto gives a registered image a snapshot of its own; the request tells which one was meant.
    snapshot = endpoint.registered["BlockDeviceMapping.1.Ebs.SnapshotId"]
    ebs = endpoint.client("ebs")
    disk = bytearray(os.path.getsize(raw_path))
    for block in ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]:
        answer = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"])
        data = answer["BlockData"].read()
        at = block["BlockIndex"] * BLOCK
        expect(not any(data[len(disk) - at :]) if at + BLOCK > len(disk) else True, "data behind the end of the disk")
        disk[at : at + BLOCK] = data[: len(disk) - at]
    with open(raw_path, "rb") as file:
        expect(bytes(disk) == file.read(), "the snapshot is not the disk")
    expect(len(endpoint.puts) == len(set(endpoint.puts)), "a block was sent twice")
    # The endpoint is strict: each lie is found.
    deceived("checksum", edit("block-map.json", r'"sha256":"....', '"sha256":"AAAA'))
    deceived("missing", edit("block-map.json", r'\{"index":0.*\n', ""))
    deceived("count", edit("commands.sh", r"--changed-blocks-count \d+", "--changed-blocks-count 3"))
    deceived("linear", edit("commands.sh", r"--checksum '....", "--checksum 'AAAA"))

server.shutdown()
print("\n".join(wrong))
sys.exit(bool(wrong))
