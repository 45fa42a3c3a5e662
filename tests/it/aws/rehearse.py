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
        self.puts = []

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
        return (answer or self.moto)(environ, start)

    def ebs(self, request):
        """What EBS direct demands of a block, and of the whole."""
        place = re.fullmatch(r"/snapshots/(?:completion/)?(snap-\w+)(?:/blocks/(\d+))?", request.path)
        if not place or request.method == "GET":
            if request.path == "/snapshots" and request.method == "POST":
                size = json.loads(body_of(request))["VolumeSize"]
                if size * (1 << 30) < os.path.getsize(raw_path):
                    raise Refused("the volume is smaller than the disk")
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
        if bucket not in str(objects):
            raise Refused("the role must not read the bucket")
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
server = make_server("127.0.0.1", 0, endpoint, threaded=True)
endpoint.url = f"http://127.0.0.1:{server.port}"
logging.getLogger("werkzeug").setLevel("ERROR")
threading.Thread(target=server.serve_forever, daemon=True).start()


def commands(folder, state):
    tools = os.path.dirname(sys.executable)
    words = {"PATH": f"{tools}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": endpoint.url, "POLL_SECONDS": "0"}
    script = os.path.join(folder, "aws", "commands.sh")
    environment = {**os.environ, **words, "STATE_DIR": state, "AWS_MAX_ATTEMPTS": "1"}
    return subprocess.run(["bash", script, route], capture_output=True, text=True, env=environment)


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


endpoint.client("s3").create_bucket(Bucket="images", CreateBucketConfiguration={"LocationConstraint": HOME})
state = bundle + "-state"
endpoint.fail_block = endpoint.fail_task = True
first = commands(bundle, state)
reason = "the connection went away" if route == "direct" else "Unsupported configuration"
expect(first.returncode != 0 and reason in first.stderr, "the run that was cut off said nothing", first)
again = commands(bundle, state)
expect(again.returncode == 0, "the second run did not end well", again)
if wrong:
    sys.exit("\n".join(wrong))
image = again.stdout.strip()
third = commands(bundle, state)
expect((third.returncode, third.stdout.strip()) == (0, image), "a third run did something else", third)

found = endpoint.client("ec2").describe_images(Owners=["self"])["Images"]
mine = [one for one in found if one["ImageId"] == image]
if len(mine) != 1:
    sys.exit(f"{image} is none of {found}")
tags = {tag["Key"]: tag["Value"] for tag in mine[0]["Tags"]}
expect(tags.get("Owner") == "it's $(us)" and "coldforge:image-sha256" in tags, f"tags {tags}")
copies = endpoint.client("ec2", "eu-west-1").describe_images(Owners=["self"])["Images"]
expect(len(copies) == (1 if route == "import-image" else 0), f"copies {copies}")
if copies:
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
