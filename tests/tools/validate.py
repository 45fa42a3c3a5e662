"""Reads the reports of a bundle with the libraries of those who will: trestle, junitparser, in-toto.

Usage: validate.py BUNDLE. Tells what each has read as one JSON object.
"""

import json
import pathlib
import sys

from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message
from junitparser import JUnitXml
from trestle.oscal.assessment_results import AssessmentResults

bundle = pathlib.Path(sys.argv[1])

result = AssessmentResults.oscal_read(bundle / "reports/assessment-results.oscal.json").results[0]
states = [str(getattr(finding.target.status.state, "value", finding.target.status.state)) for finding in result.findings]

suites = JUnitXml.fromfile(str(bundle / "reports/results.junit.xml"))
suites = [suites] if suites._tag == "testsuite" else list(suites)
words = [type(one).__name__ for suite in suites for case in suite for one in case.result]

message = json_format.Parse((bundle / "provenance.json").read_text(), Message())
Statement.copy_from_pb(message).validate()

print(json.dumps({
    "satisfied": states.count("satisfied"), "not_satisfied": states.count("not-satisfied"), "findings": len(states),
    "cases": sum(len(list(suite)) for suite in suites),
    "failures": words.count("Failure"), "skipped": words.count("Skipped"),
    "subjects": [subject.digest["sha256"] for subject in message.subject],
}))
