"""Models as data: what a TOML may say, what it may not, and what of it makes another model."""

import json
import math
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import bayesdense
from bayesdense.catalog import model_names, model_path
from bayesdense.errors import SpecError
from bayesdense.kinds import DENSITY_COMPONENTS, JOINT_COMPONENTS, KINDS, known_priors
from bayesdense.options import JOINT_OPTIONS, OPTION_NAMES, Options
from bayesdense.priors import DATA_KWARGS, DATA_SCALES, DISTRIBUTIONS
from bayesdense.spec import ModelSpec, load_spec, spec_from_dict

type Raw = dict[str, Any]
SCHEMA = json.loads(
    (Path(bayesdense.__file__).parent / "schemas" / "model.schema.json").read_text("utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
JOINT = load_spec("joint")


def raw_joint() -> Raw:
    return tomllib.loads(model_path("joint").read_text("utf-8"))


def put(path: str, value: object) -> Callable[[Raw], None]:
    """Change that sets one entry, making the tables on the way."""

    def change(raw: Raw) -> None:
        *steps, last = path.split(".")
        for step in steps:
            raw = raw.setdefault(step, {})
        raw[last] = value

    return change


def drop(path: str) -> Callable[[Raw], None]:
    """Change that takes one entry out."""

    def change(raw: Raw) -> None:
        *steps, last = path.split(".")
        for step in steps:
            raw = raw[step]
        del raw[last]

    return change


def changed(change: Callable[[Raw], None]) -> Raw:
    raw = raw_joint()
    change(raw)
    return raw


# ---------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("name", model_names())
def test_shipped_models_load_and_say_why(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    assert spec.title and spec.description and spec.references
    for component in spec.components.values():
        for variable, prior in component.priors.items():
            for entry, top in prior.top_level(variable):
                assert top.reason, f"no reason for {component.name}.{entry}"


def test_a_path_loads_as_a_name_does() -> None:
    assert load_spec(model_path("joint")) == JOINT
    assert load_spec(str(model_path("joint"))).digest == JOINT.digest


@pytest.mark.parametrize("name", ["mine", "mine.txt", "joint.v2", "sub/mine"])
def test_a_models_file_may_have_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model_path("joint").read_bytes())
    monkeypatch.chdir(tmp_path)
    for given in (name, Path(name), path):
        assert load_spec(given) == JOINT


def test_a_shipped_name_wins_over_a_file_and_a_path_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "joint").write_bytes(model_path("trend_only").read_bytes())
    (tmp_path / "trend_only").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_spec("joint") == JOINT
    assert load_spec("./joint").name == load_spec(Path("joint")).name == "trend_only"
    assert load_spec(Path("trend_only")).name == "trend_only", "a folder is no model"


def test_joint_reads_scores_and_trend_only_does_not() -> None:
    assert JOINT.is_joint and set(JOINT.components) == set(JOINT_COMPONENTS)
    trend_only = load_spec("trend_only")
    assert not trend_only.is_joint and set(trend_only.components) == set(DENSITY_COMPONENTS)
    assert (JOINT.trend, JOINT.residual) == ("exponential", "symmetric")


def test_shared_components_say_the_same_in_both_models() -> None:
    trend_only = load_spec("trend_only")
    for name in ("family", "residual"):
        assert trend_only.component(name).priors == JOINT.component(name).priors


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + model_path("joint").read_bytes())
    assert load_spec(path).digest == JOINT.digest


# ---------------------------------------------------------------- what is refused

PRIOR = "residual.priors.residual_sd"
SPOILT = [
    # entries
    (put("trends", {}), "unknown entry 'trends'; did you mean 'trend'?"),
    (put("zzz", 1), "unknown entry 'zzz', allowed: description, family"),
    (put("schema", 2), "schema = 2, allowed: 1"),
    (put("schema", True), "schema = True, allowed: 1"),
    (drop("schema"), "schema = None"),
    (drop("name"), "name = None, allowed: a word"),
    (put("name", 3), "name = 3"),
    (put("title", 3), "title = 3, allowed: a text"),
    (put("references", "one text"), "references = 'one text', allowed: a list of texts"),
    (put("references", [1]), "references = .1., allowed: a list of texts"),
    (drop("trend"), r"\[trend\] is missing"),
    (drop("score_map"), "a model that reads scores also needs score_map"),
    (drop("loss_law"), "a model that reads scores also needs loss_law"),
    # options
    (put("options", 3), "options is 3"),
    (put("options.refrence_tokens", 1e12), "unknown option 'refrence_tokens'; did you mean 'refe"),
    (put("options.params", "nonembedding"), "options.params: 'nonembedding', allowed: non_embedd"),
    (put("options.reference_tokens", "5T"), "options.reference_tokens: '5T', allowed: a number"),
    (put("options.reference_tokens", True), "options.reference_tokens: True, allowed: a number"),
    (put("options.reference_tokens", 5), "options.reference_tokens: 5, allowed: 1e.06 to 1e.18"),
    (put("options.reference_tokens", math.nan), "options.reference_tokens: nan, allowed"),
    (put("options.quadrature_spacing", 0), "options.quadrature_spacing: 0, allowed"),
    (put("options.base_only", "yes"), "options.base_only: 'yes', allowed: true or false"),
    (put("options.scale_trend", 1), "options.scale_trend: 1"),
    (
        lambda raw: (put("options.scale_trend", True)(raw),
                     drop("residual.priors.residual_log_sd_slope")(raw)),
        "residual_log_sd_slope: missing, scale_trend = true needs it",
    ),
    # kinds
    (put("trend", "flat"), "trend: 'flat', allowed is a table with kind and priors"),
    (put("trend.kind", "exponentail"), "trend.kind: 'exponentail', allowed: exponential, flat"),
    (put("trend.kind", ["flat"]), "trend.kind: .'flat'., allowed"),
    (drop("trend.kind"), "trend.kind: None"),
    (put("trend.prior", {}), "trend: unknown key 'prior', allowed: kind, priors"),
    (put("trend.priors", 3), "trend.priors: 3"),
    (put("residual.priors.residual_sdd", {}), "unknown variable 'residual_sdd'; did you mean 'res"),
    # priors
    (drop(PRIOR), "residual_sd: missing, kind 'symmetric' needs it"),
    (put(PRIOR, 0.5), "residual_sd: 0.5, allowed is a table with dist and kwargs"),
    (put(f"{PRIOR}.mean", 1), "residual_sd: unknown key 'mean', allowed: dist"),
    (put(f"{PRIOR}.reason", 1), "residual_sd.reason: 1, allowed: a text"),
    (put(f"{PRIOR}.dist", "Lognormal"), "residual_sd.dist: 'Lognormal', allowed: Normal, LogNorm"),
    (put(f"{PRIOR}.dist", ["LogNormal"]), "residual_sd.dist: .'LogNormal'., allowed"),
    (put(f"{PRIOR}.kwargs", [1]), r"residual_sd.kwargs: \[1\], LogNormal takes mu, sigma"),
    (drop(f"{PRIOR}.kwargs.mu"), r"residual_sd.kwargs: \['sigma'\], LogNormal takes mu, sigma"),
    (put(f"{PRIOR}.kwargs.nu", 3), r"LogNormal takes mu, sigma"),
    (put(f"{PRIOR}.kwargs.mu", math.nan), "residual_sd.kwargs.mu: nan, allowed: a finite number"),
    (put(f"{PRIOR}.kwargs.mu", math.inf), "residual_sd.kwargs.mu: inf"),
    (put(f"{PRIOR}.kwargs.mu", True), "residual_sd.kwargs.mu: True, allowed: a number"),
    (put(f"{PRIOR}.kwargs.mu", "big"), "residual_sd.kwargs.mu: 'big', allowed: a number or floor"),
    (put(f"{PRIOR}.kwargs.sigma", -0.5), "residual_sd.kwargs.sigma: -0.5, allowed: a positive"),
    (put(f"{PRIOR}.kwargs.sigma", 0), "residual_sd.kwargs.sigma: 0, allowed: a positive"),
    (put(f"{PRIOR}.dims", "benchmark"), "residual_sd.dims: 'benchmark', allowed: no dims"),
    (put(f"{PRIOR}.scale", "loss_centre"), "residual_sd.scale: needs dims = 'benchmark'"),
    (put("loss_law.priors.loss_floor.scale", "loss"), "loss_floor.scale: 'loss', allowed: loss_ce"),
    (put("loss_law.priors.loss_floor.dims", "llm"), "loss_floor.dims: 'llm', allowed: benchmark"),
    (drop("loss_law.priors.param_coef.dims"), "param_coef.scale: needs dims = 'benchmark'"),
    (drop("score_map.priors.map_noise_sd.dims"), "map_noise_sd.dims: None, allowed: dims = 'ben"),
    (put("score_map.priors.score_ceiling.scale", "loss_centre"), "score_ceiling.scale: needs"),
    # ranges and hierarchies
    (put(f"{PRIOR}.dist", "Normal"), "residual_sd.dist: 'Normal', allowed for a positive number"),
    (
        put("score_map.priors.score_floor", {"dist": "HalfNormal", "dims": "benchmark"}
            | {"kwargs": {"sigma": 0.1}}),
        "score_floor.dist: 'HalfNormal', allowed for a fraction: Beta",
    ),
    (put(f"{PRIOR}.kwargs.mu", "floor_guess_alpha"), "residual_sd.kwargs.mu: .* only in a Beta"),
    (
        put("family.priors.family_sd.kwargs.sigma", {"dist": "Gamma"}),
        r"family_sd.kwargs.sigma.kwargs: None, Gamma takes alpha, beta",
    ),
    (
        put("loss_law.priors.loss_floor.kwargs.sigma",
            {"dist": "Gamma", "kwargs": {"alpha": 2, "beta": 1}}),
        "loss_floor.kwargs.sigma: a prior, allowed only in Normal and LogNormal",
    ),
    (
        put("score_map.priors.score_floor.kwargs.alpha",
            {"dist": "Gamma", "kwargs": {"alpha": 2, "beta": 1}}),
        "score_floor.kwargs.alpha: only mu and sigma can have a prior",
    ),
    (
        put("loss_law.priors.param_exponent.kwargs.sigma.dist", "Normal"),
        "param_exponent.kwargs.sigma.dist: 'Normal', allowed for sigma: LogNormal",
    ),
    (
        put("loss_law.priors.param_exponent.kwargs.mu",
            {"dist": "Gamma", "kwargs": {"alpha": 2, "beta": 1}}),
        "param_exponent.kwargs.mu.dist: 'Gamma', allowed for mu: Normal, LogNormal",
    ),
    (
        put("loss_law.priors.param_exponent.kwargs.mu.dims", "benchmark"),
        "param_exponent.kwargs.mu: allowed is one prior for all benchmarks",
    ),
    (
        put("loss_law.priors.param_exponent.kwargs.mu.kwargs.mu",
            {"dist": "Normal", "kwargs": {"mu": 0, "sigma": 1}}),
        "param_exponent.kwargs.mu: allowed is one prior .* with numbers only",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), SPOILT, ids=[message for _, message in SPOILT])
def test_what_a_model_may_not_say(change: Callable[[Raw], None], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        spec_from_dict(changed(change), where="mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert str(caught.value).count("mine.toml") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"schema = ", "mine.toml: not a TOML file in UTF-8"),
        (b"\xff\xfe\x00", "mine.toml: not a TOML file in UTF-8"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load_spec(path)


HUGE = "1" + "0" * 400
DEEP = "[" * 5000
NESTED = "kwargs.mu." * 2000


@pytest.mark.parametrize(
    "content",
    [
        "schema = " + "1" * 5000,
        "schema = 0x" + "f" * 5000,
        f"schema = 1\nname = {DEEP}",
        f"schema = 1\nname = 'x'\ntrend.kind = 'flat'\ntrend.priors.trend_intercept.{NESTED}z = 1",
        f"schema = 1\nname = {{ {NESTED}z = 1 }}",
        f"schema = 1\n'{'k' * 10**6}' = 1",
    ],
    ids=["decimal", "hexadecimal", "arrays", "priors", "tables", "key"],
)
def test_monstrous_files_are_refused_in_one_short_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert len(message) < 300
    assert "\n" not in message


@pytest.mark.parametrize(
    "assignment",
    [
        f"reference_tokens={HUGE}",
        f"reference_tokens=-{HUGE}",
        f"quadrature_spacing={'9' * 5000}",
        f"trend.priors.growth_rate.kwargs.mu={HUGE}",
        f"trend.priors.growth_rate.kwargs.sigma={'9' * 5000}",
        f"name={DEEP}",
        f"{'x' * 10**5}=1",
        f"trend.kind={'x' * 10**5}",
        "trend.priors.growth_rate=" + "{dist='Normal',kwargs={sigma=1,mu=" * 400 + "1" + "}}" * 400,
    ],
    ids=range(9),
)
def test_monstrous_overrides_are_refused_in_one_short_line(assignment: str) -> None:
    limit = sys.getrecursionlimit()
    try:
        for depth in (limit, 10_000):  # the latter is PyTensor's
            sys.setrecursionlimit(depth)
            with pytest.raises(SpecError) as caught:
                JOINT.with_overrides([assignment])
            assert len(str(caught.value)) < 600
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("value", [10**400, math.inf, math.nan, True, "5e12"], ids=range(5))
def test_options_made_in_python_are_numbers(value: Any) -> None:
    with pytest.raises(SpecError, match=r"reference_tokens: .*allowed: a "):
        Options(reference_tokens=value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent.toml: no such file"):
        load_spec(tmp_path / "absent.toml")
    with pytest.raises(SpecError, match="joint: no such file"):
        load_spec(tmp_path / "joint")
    with pytest.raises(SpecError, match="a folder, allowed a TOML file or a shipped name"):
        load_spec(tmp_path)
    with pytest.raises(SpecError, match=r"the name of the model is empty; shipped are .*joint"):
        load_spec("")
    with pytest.raises(SpecError, match="no shipped model: did you mean 'joint'"):
        load_spec("joints")
    with pytest.raises(SpecError, match="model 'trend_only' has no component 'loss_law'"):
        load_spec("trend_only").component("loss_law")
    with pytest.raises(SpecError, match=r"\[trend.priors.kappa\] is missing, kind 'exponential'"):
        JOINT.prior("trend", "kappa")


# ---------------------------------------------------------------- changes


def test_options_and_kinds_change_by_their_name() -> None:
    spec = JOINT.with_options(trend="flat", residual="composed", reference_tokens=1e12)
    assert (spec.trend, spec.residual) == ("flat", "composed")
    assert spec.options.reference_tokens == 1e12
    assert set(spec.used_priors("residual")) == {"residual_sd", "one_sided_sd"}
    assert JOINT.trend == "exponential", "the model itself is a value and stays"
    assert spec.with_options(trend="exponential", residual="symmetric", reference_tokens=5e12) == (
        JOINT
    )


@pytest.mark.parametrize(
    ("assignment", "read"),
    [
        ("trend=flat", lambda spec: spec.trend == "flat"),
        ("trend.kind=flat", lambda spec: spec.trend == "flat"),
        ('trend="flat"', lambda spec: spec.trend == "flat"),
        ("trend='flat'", lambda spec: spec.trend == "flat"),
        (" trend = flat ", lambda spec: spec.trend == "flat"),
        ("reference_tokens=1e12", lambda spec: spec.options.reference_tokens == 1e12),
        ("reference_tokens=1_000_000_000_000", lambda spec: spec.options.reference_tokens == 1e12),
        ("options.scale_trend=true", lambda spec: spec.options.scale_trend is True),
        ("base_only=false", lambda spec: spec.options.base_only is False),
        (
            "trend.priors.growth_rate.kwargs.sigma=0.5",
            lambda spec: spec.prior("trend", "growth_rate").kwargs["sigma"] == 0.5,
        ),
        (
            "loss_law.priors.param_exponent.kwargs.mu.kwargs.sigma=0.1",
            lambda spec: (
                spec.prior("loss_law", "param_exponent").kwargs["mu"].kwargs["sigma"] == 0.1
            ),
        ),
        (
            'trend.priors.growth_rate={dist="Normal", kwargs={mu=1, sigma=2}, reason="a=b"}',
            lambda spec: spec.prior("trend", "growth_rate").reason == "a=b",
        ),
        ("name=mine", lambda spec: spec.name == "mine"),
    ],
)
def test_overrides(assignment: str, read: Callable[[ModelSpec], bool]) -> None:
    assert read(JOINT.with_overrides([assignment]))


def test_later_overrides_build_on_earlier_ones() -> None:
    spec = JOINT.with_overrides(["trend=flat", "trend=exponential", "residual=student_t"])
    assert (spec.trend, spec.residual) == ("exponential", "student_t")
    assert JOINT.with_overrides([]) is JOINT


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trend", "--set 'trend': write it as a.b=value"),
        ("=3", "--set '=3': write it as a.b=value"),
        ("trent=flat", "model 'joint' has no 'trent'; did you mean 'trend'?"),
        ("trend.prior.x=1", "model 'joint' has no 'prior'; did you mean 'priors'?"),
        ("trend.priors.growth_rat=1", "has no 'growth_rat'; did you mean 'growth_rate'?"),
        ("trend.kind.x=1", "model 'joint' has no 'x'"),
        ("trend=exp", "trend.kind: 'exp', allowed: exponential, flat"),
        ("trend=[1]", "trend.kind: .1., allowed"),
        ("base_only=yes", "options.base_only: 'yes', allowed: true or false"),
        ("trend.priors.growth_rate.kwargs.sigma=-1", "sigma: -1, allowed: a positive number"),
        ("trend.priors.growth_rate.kwargs.mu=nan", "mu: nan, allowed: a finite number"),
    ],
)
def test_overrides_that_cannot_be(assignment: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        JOINT.with_overrides([assignment])


def test_a_component_that_the_model_lacks_cannot_be_set() -> None:
    with pytest.raises(SpecError, match="model 'trend_only' has no 'loss_law'"):
        load_spec("trend_only").with_options(loss_law="additive")


# ---------------------------------------------------------------- round trip and digest


@pytest.mark.parametrize("name", JOINT_OPTIONS)
def test_an_option_without_effect_is_refused(name: str) -> None:
    spec = load_spec("trend_only")
    raw = spec.to_dict()
    assert not set(JOINT_OPTIONS) & set(raw["options"])
    value = getattr(Options(), name)
    for key in (name, f"options.{name}"):
        with pytest.raises(SpecError, match=f"option '{name}' has no effect on a model of given"):
            spec.with_options(**{key: value})
    raw["options"][name] = value
    assert not VALIDATOR.is_valid(raw)


def test_the_priors_that_are_used_hang_on_kinds_and_options() -> None:
    assert set(JOINT.used_priors("residual")) == {"residual_sd"}
    moving = JOINT.with_options(scale_trend=True, residual="student_t")
    assert list(moving.used_priors("residual")) == [
        "residual_sd", "residual_df", "residual_log_sd_slope",
    ]  # fmt: skip
    assert moving.used_priors("trend") == JOINT.used_priors("trend")


@pytest.mark.parametrize("name", model_names())
def test_json_round_trip(name: str) -> None:
    spec = load_spec(name).with_options(residual="composed", scale_trend=True)
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert again.digest == spec.digest
    assert again.to_json() == spec.to_json()
    for name, component in spec.components.items():
        kept = again.component(name).priors
        assert all(kept[key].reason == prior.reason for key, prior in component.priors.items())


@pytest.mark.parametrize(
    "change",
    [
        put("title", "Another title"),
        put("description", ""),
        put("references", []),
        put("name", "mine"),
        put(f"{PRIOR}.reason", "for another reason"),
        put("loss_law.priors.param_exponent.kwargs.mu.reason", "for another reason"),
        put("options.reference_tokens", 5_000_000_000_000),
        put("score_map.priors.score_ceiling.kwargs.alpha", 30.0),
    ],
)
def test_words_and_ways_to_write_a_number_are_no_other_model(
    change: Callable[[Raw], None],
) -> None:
    assert spec_from_dict(changed(change), where="mine").digest == JOINT.digest


@pytest.mark.parametrize(
    "change",
    [
        put("options.reference_tokens", 1e12),
        put("options.params", "total"),
        put("options.feedback", "cut"),
        put("options.scale_trend", True),
        put("trend.kind", "flat"),
        put("residual.kind", "composed"),
        put("loss_law.kind", "additive"),
        put(f"{PRIOR}.kwargs.mu", -0.2 + 1e-9),
        put(f"{PRIOR}.dist", "Gamma"),
        put("loss_law.priors.param_exponent.kwargs.mu.kwargs.sigma", 0.30000001),
        put("loss_law.priors.param_exponent.kwargs.mu.dist", "LogNormal"),
        drop("loss_law.priors.loss_floor.scale"),
        put("score_map.priors.score_floor.kwargs.alpha", 5),
    ],
)
def test_everything_that_moves_the_posterior_is_another_model(
    change: Callable[[Raw], None],
) -> None:
    raw = changed(change)
    prior = raw["residual"]["priors"]["residual_sd"]
    if prior["dist"] == "Gamma":
        prior["kwargs"] = {"alpha": 2, "beta": 1}
    assert spec_from_dict(raw, where="mine").digest != JOINT.digest


# ---------------------------------------------------------------- the JSON Schema


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", model_names())
def test_shipped_models_keep_the_schema(name: str) -> None:
    raw = tomllib.loads(model_path(name).read_text("utf-8"))
    VALIDATOR.validate(raw)
    VALIDATOR.validate(json.loads(load_spec(name).to_json()))


#: JSON has neither NaN nor infinity.
IN_JSON = [
    (change, message)
    for change, message in SPOILT
    if not message.endswith(("nan", "inf")) and ": nan" not in message
]


@pytest.mark.parametrize(("change", "message"), IN_JSON, ids=[message for _, message in IN_JSON])
def test_schema_and_loader_refuse_the_same(change: Callable[[Raw], None], message: str) -> None:
    assert not VALIDATOR.is_valid(changed(change)), message


def test_schema_names_the_kinds_options_and_priors_of_the_code() -> None:
    properties = SCHEMA["properties"]
    assert tuple(properties["options"]["properties"]) == OPTION_NAMES
    assert tuple(name for name in properties if name in KINDS) == JOINT_COMPONENTS
    for component, kinds in KINDS.items():
        part = properties[component]
        if component == "trend":
            _check_kinds_of_trends(part["properties"]["kind"])
        else:
            assert part["properties"]["kind"]["enum"] == list(kinds)
        assert set(part["properties"]["priors"]["properties"]) == known_priors(component)
        required = {
            _kind_of(rule["if"]["properties"]["kind"]): tuple(
                rule["then"]["properties"]["priors"]["required"]
            )
            for rule in part["allOf"]
        }
        assert required == {kind: variables for kind, variables in kinds.items() if variables}
    definitions = SCHEMA["$defs"]
    assert definitions["number_prior"]["properties"]["dist"]["enum"] == list(DISTRIBUTIONS)
    vector = definitions["positive_vector_prior"]["properties"]
    assert vector["scale"]["enum"] == list(DATA_SCALES)
    fraction = definitions["fraction_vector_prior"]["properties"]["kwargs"]["properties"]
    assert fraction["alpha"]["anyOf"][1]["enum"] == list(DATA_KWARGS)


def _kind_of(condition: dict[str, str]) -> str:
    """Name of the kind that a rule of the schema is about, without its argument."""
    if "const" in condition:
        return condition["const"]
    return condition["pattern"].removeprefix("^").split("@")[0].rstrip("(")


def _check_kinds_of_trends(kind: Raw) -> None:
    """Every trend is a kind, those with an argument as a pattern."""
    enum, *patterns = kind["anyOf"]
    named = {*enum["enum"], *(_kind_of(pattern) for pattern in patterns)}
    assert named == set(KINDS["trend"]) and len(enum["enum"]) + len(patterns) == len(named)


@pytest.mark.parametrize(
    "kind",
    ["flat", "break_known@2024-04-01", "groups", "groups@maker", "covariate@log_overtraining"],
)
def test_schema_and_loader_take_the_same_kinds_of_trends(kind: str) -> None:
    raw = changed(put("trend.kind", kind))
    VALIDATOR.validate(raw)
    assert spec_from_dict(raw, where="mine.toml").trend == kind


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("break_known", "break_known@DATE, break_known@2024-04-01"),
        ("break_known@spring", "'spring': allowed a date"),
        ("covariate@size", "covariate@'size': allowed log_params, log_overtraining"),
        ("quadratic@2", "quadratic takes no argument"),
        ("groups@", "groups@COLUMN"),
    ],
)
def test_trends_with_wrong_arguments_are_refused(kind: str, message: str) -> None:
    raw = changed(put("trend.kind", kind))
    assert not VALIDATOR.is_valid(raw)
    with pytest.raises(SpecError, match=f"^mine.toml: trend.kind: .*{message}"):
        spec_from_dict(raw, where="mine.toml")


def test_one_trend_has_one_digest_however_it_is_written() -> None:
    assert (
        JOINT.with_options(trend="groups@moe").digest == JOINT.with_options(trend="groups").digest
    )
