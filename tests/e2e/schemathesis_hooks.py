"""What schemathesis may ask for, so that a test takes seconds: the model that is there, and short answers. Loaded by
the command line of schemathesis (SCHEMATHESIS_HOOKS)."""
import schemathesis

LIMITS = {"n": 2, "max_tokens": 4, "max_completion_tokens": 4, "max_output_tokens": 4, "min_tokens": 0}


def shortened(body):
    """A generation with as few tokens as its schema allows."""
    limited = {name: min(body[name], limit) for name, limit in LIMITS.items()
               if isinstance(body.get(name), (int, float)) and not isinstance(body[name], bool)}
    return {**body, **limited}


@schemathesis.hook
def map_body(context, body):
    # A wrong body stays as wrong as it is: names and numbers are all that change, and only where they are right.
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("model"), str) and body["model"]:
        body = {**body, "model": "octavo-tiny"}
    if isinstance(body.get("sampling_params"), dict):
        body = {**body, "sampling_params": shortened(body["sampling_params"])}
    return shortened(body)
