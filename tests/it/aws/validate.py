"""Holds the files of a bundle's folder aws/ against AWS's own models: usage validate.py DIR...

botocore's parameter validator with the values of every enumeration, the AWS CLI's own reading of the requests, and
parliament for the policies. Nothing is sent anywhere. Says what is wrong and ends with 1.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import botocore.session
from botocore.validate import ParamValidator
from parliament import analyze_policy_string

MODEL = botocore.session.get_session().get_service_model("ec2")
wrong = []


def enumerations(shape, value, place):
    if shape.type_name == "structure":
        for name, member in value.items():
            enumerations(shape.members[name], member, f"{place}.{name}")
    elif shape.type_name == "list":
        for member in value:
            enumerations(shape.member, member, f"{place}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        wrong.append(f"{place}: {value} is none of {shape.enum}")


def request(place, operation, value):
    shape = MODEL.operation_model(operation).input_shape
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        wrong.append(f"{place}: {report.generate_report()}")
    else:
        enumerations(shape, value, place)


def command(folder, verb, value):
    """Lets the AWS CLI read a request; with a skeleton as output it sends nothing."""
    tool = os.path.join(os.path.dirname(sys.executable), "aws")
    words = [tool, "ec2", verb, "--cli-input-json", json.dumps(value), "--generate-cli-skeleton", "output"]
    done = subprocess.run([*words, "--region", "us-east-1"], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        wrong.append(f"{folder} {verb}: {done.stderr.strip()}")


def folder(path):
    def load(name):
        with open(os.path.join(path, name), encoding="utf-8") as file:
            return json.load(file)

    requests = [
        ("ImportImage", "import-image", load("import-image.json")),
        ("ImportImage", "import-image", {"DiskContainers": load("containers.json")}),
        ("ImportSnapshot", "import-snapshot", load("import-snapshot.json")),
        ("RegisterImage", "register-image", load("register-image.json")),
    ]
    distribution = load("distribution.json")
    for place in [distribution["home"], *distribution["regions"]]:
        if place.get("copy_image"):
            requests.append(("CopyImage", "copy-image", place["copy_image"]))
        if place.get("launch_permission"):
            requests.append(("ModifyImageAttribute", "modify-image-attribute", place["launch_permission"]))
    for operation, _, value in requests:
        request(f"{path} {operation}", operation, value)
        if len(value.get("Description", "")) > 255:
            wrong.append(f"{path} {operation}: a long description")
        # The narrowest of the models that tags are sent to is that of EBS direct.
        tags = [tag for one in value.get("TagSpecifications", []) for tag in one["Tags"]]
        if len(tags) > 50 or any(len(tag["Key"]) > 127 or len(tag["Value"]) > 255 for tag in tags):
            wrong.append(f"{path} {operation}: tags that AWS does not take")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: command(path, one[1], one[2]), requests))
    # parliament knows identity policies; of the trust policy its form and action are held against its tables.
    role = load("role-policy.json")
    trust = load("trust-policy.json")
    for statement in trust["Statement"]:
        if statement.pop("Principal") != {"Service": "vmie.amazonaws.com"}:
            wrong.append(f"{path} trust-policy.json: another principal")
        if statement["Condition"] != {"StringEquals": {"sts:Externalid": "vmimport"}}:
            wrong.append(f"{path} trust-policy.json: another condition")
        statement["Resource"] = "arn:aws:iam::111122223333:role/vmimport"
    wide = [one["Sid"] for one in role["Statement"] if one["Resource"] == "*"]
    if not set(wide) <= {"Register", "License"}:
        wrong.append(f"{path} role-policy.json: {wide} are about everything")
    for name, policy in [("role-policy.json", role), ("trust-policy.json", trust)]:
        for finding in analyze_policy_string(json.dumps(policy)).findings:
            # Snapshots, images and licences have no names before there are any; AWS's own role says the same.
            if finding.issue == "RESOURCE_STAR":
                continue
            # A documented key of all operations on keys, which parliament's tables name for none.
            if finding.issue == "UNKNOWN_CONDITION_FOR_ACTION" and "kms:ResourceAliases" in str(finding):
                continue
            wrong.append(f"{path} {name}: {finding}")
    return len(requests)


count = sum(folder(path) for path in sys.argv[1:])
print(f"{count} requests")
for line in wrong:
    print(line)
sys.exit(bool(wrong) or not count)
