"""Small files in the formats in which code systems are published, written by the tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

LOINC_HEADER = (
    "LOINC_NUM", "COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS",
    "VersionLastChanged", "CHNG_TYPE", "DefinitionDescription", "STATUS", "CONSUMER_NAME", "CLASSTYPE", "FORMULA",
    "EXMPL_ANSWERS", "SURVEY_QUEST_TEXT", "SURVEY_QUEST_SRC", "UNITSREQUIRED", "RELATEDNAMES2", "SHORTNAME",
    "ORDER_OBS", "HL7_FIELD_SUBFIELD_ID", "EXTERNAL_COPYRIGHT_NOTICE", "EXAMPLE_UNITS", "LONG_COMMON_NAME",
    "EXAMPLE_UCUM_UNITS", "STATUS_REASON", "STATUS_TEXT", "CHANGE_REASON_PUBLIC", "COMMON_TEST_RANK",
    "COMMON_ORDER_RANK", "HL7_ATTACHMENT_STRUCTURE", "EXTERNAL_COPYRIGHT_LINK", "PanelType", "AskAtOrderEntry",
    "AssociatedObservations", "VersionFirstReleased", "ValidHL7AttachmentRequest", "DisplayName",
)  # fmt: skip


def _csv(file: Path, rows: Sequence[Sequence[str]], *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding=encoding, newline="") as out:
        csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)


def loinc(folder: Path) -> Path:
    """A LOINC release of three codes, with the hierarchy and Brazilian names."""

    def row(**cells: str) -> list[str]:
        return [cells.get(name, "") for name in LOINC_HEADER]

    weight = row(
        LOINC_NUM="29463-7", COMPONENT="Body weight", PROPERTY="Mass", SYSTEM="^Patient", SCALE_TYP="Qn",
        STATUS="ACTIVE", LONG_COMMON_NAME="Body weight", SHORTNAME="Weight", CLASS="BDYWGT.ATOM",
        DefinitionDescription='Weight, "as measured"',
    )  # fmt: skip
    height = row(
        LOINC_NUM="8302-2", COMPONENT="Body height", PROPERTY="Len", SYSTEM="^Patient", SCALE_TYP="Qn",
        STATUS="ACTIVE", LONG_COMMON_NAME="Body height",
    )  # fmt: skip
    old = row(
        LOINC_NUM="1000-9", COMPONENT="Old", PROPERTY="Type", SYSTEM="Bld", SCALE_TYP="Nom",
        STATUS="DEPRECATED", LONG_COMMON_NAME="Old test",
    )  # fmt: skip
    _csv(folder / "LoincTable/Loinc.csv", [LOINC_HEADER, weight, height, old])
    _csv(
        folder / "AccessoryFiles/ComponentHierarchyBySystem/ComponentHierarchyBySystem.csv",
        [
            ("PATH_TO_ROOT", "SEQUENCE", "IMMEDIATE_PARENT", "CODE", "CODE_TEXT"),
            ("", "1", "", "LP1", "Clinical"),
            ("LP1", "1", "LP1", "LP2", "Body measures"),
            ("LP1.LP2", "1", "LP2", "29463-7", "Weight"),
            ("LP1.LP2", "2", "LP2", "8302-2", "Height"),
        ],
    )
    _csv(
        folder / "AccessoryFiles/LinguisticVariants/ptBR8LinguisticVariant.csv",
        [("LOINC_NUM", "COMPONENT", "LONG_COMMON_NAME"), ("29463-7", "Peso corporal", "Peso corporal")],
    )
    return folder


def _tabs(file: Path, *rows: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\r\n".join("\t".join(row.split("|")) for row in rows) + "\r\n", encoding="utf-8")


def snomed(folder: Path) -> Path:
    """A SNOMED CT snapshot: a root, two findings below each other, and an inactive concept."""
    snapshot = folder / "SnomedCT_InternationalRF2_PRODUCTION_20250101T120000Z/Snapshot"
    is_a, fsn, synonym = "116680003", "900000000000003001", "900000000000013009"
    core, case, primitive = "900000000000207008", "900000000000448009", "900000000000074008"
    _tabs(
        snapshot / "Terminology/sct2_Concept_Snapshot_INT_20250101.txt",
        "id|effectiveTime|active|moduleId|definitionStatusId",
        f"138875005|20020131|1|{core}|{primitive}",
        f"404684003|20020131|1|{core}|{primitive}",
        f"386661006|20020131|1|{core}|{primitive}",
        f"999000|20200131|0|{core}|{primitive}",
    )
    header = "id|effectiveTime|active|moduleId|conceptId|languageCode|typeId|term|caseSignificanceId"
    _tabs(
        snapshot / "Terminology/sct2_Description_Snapshot-en_INT_20250101.txt",
        header,
        f"1|20020131|1|{core}|138875005|en|{fsn}|SNOMED CT Concept|{case}",
        f"2|20020131|1|{core}|404684003|en|{fsn}|Clinical finding (finding)|{case}",
        f"3|20020131|1|{core}|404684003|en|{synonym}|Clinical finding|{case}",
        f"4|20020131|1|{core}|386661006|en|{fsn}|Fever (finding)|{case}",
        f'5|20020131|1|{core}|386661006|en|{synonym}|Fever with "chills" \u00e1|{case}',
        f"6|20020131|1|{core}|386661006|en|{synonym}|Pyrexia|{case}",
        f"7|20020131|0|{core}|386661006|en|{synonym}|Forgotten|{case}",
        f"8|20020131|1|{core}|999000|en|{fsn}|Gone (finding)|{case}",
    )
    _tabs(
        snapshot / "Terminology/sct2_Relationship_Snapshot_INT_20250101.txt",
        "id|effectiveTime|active|moduleId|sourceId|destinationId|relationshipGroup|typeId|"
        "characteristicTypeId|modifierId",
        f"1|20020131|1|{core}|404684003|138875005|0|{is_a}|x|y",
        f"2|20020131|1|{core}|386661006|404684003|0|{is_a}|x|y",
        f"3|20020131|0|{core}|386661006|138875005|0|{is_a}|x|y",
        f"4|20020131|1|{core}|386661006|138875005|0|363698007|x|y",
    )
    _tabs(
        snapshot / "Refset/Language/der2_cRefset_LanguageSnapshot-en_INT_20250101.txt",
        "id|effectiveTime|active|moduleId|refsetId|referencedComponentId|acceptabilityId",
        f"a|20020131|1|{core}|900000000000509007|3|900000000000548007",
        f"b|20020131|1|{core}|900000000000509007|6|900000000000548007",
        f"c|20020131|1|{core}|900000000000509007|5|900000000000549004",
    )
    return folder


def cid10(folder: Path) -> Path:
    """CID-10 as DATASUS publishes it: semicolons, Windows-1252."""

    def write(name: str, *lines: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\r\n".join(lines) + "\r\n", encoding="cp1252")

    write(
        "CID-10-CAPITULOS.CSV",
        "NUMCAP;CATINIC;CATFIM;DESCRICAO;DESCRABREV;",
        "1;A00;B99;Capítulo I - Algumas doenças infecciosas e parasitárias;I. Algumas doenças;",
        "10;J00;J99;Capítulo X - Doenças do aparelho respiratório;X. Doenças;",
    )
    write(
        "CID-10-GRUPOS.CSV",
        "CATINIC;CATFIM;DESCRICAO;DESCRABREV;",
        "A00;A09;Doenças infecciosas intestinais;Doenças infecciosas intestinais;",
        "J09;J18;Influenza [gripe] e pneumonia;Influenza;",
    )
    write(
        "CID-10-CATEGORIAS.CSV",
        "CAT;CLASSIF;DESCRICAO;DESCRABREV;REFER;EXCLUIDOS;",
        "A00;;Cólera;A00   Cólera;;;",
        "J11;;Influenza [gripe] devida a vírus não identificado;J11;;;",
        "B24;;Doença pelo vírus da imunodeficiência humana;B24;;;",
    )
    write(
        "CID-10-SUBCATEGORIAS.CSV",
        "SUBCAT;CLASSIF;RESTRSEXO;CAUSAOBITO;DESCRICAO;DESCRABREV;REFER;EXCLUIDOS;",
        "A000;;;;Cólera devida a Vibrio cholerae 01, biótipo cholerae;A00.0;;;",
        "J110;+;;;Influenza com pneumonia;J11.0;;;",
        "B24;;;;Doença pelo vírus da imunodeficiência humana;B24;;;",
    )
    return folder


def tuss(file: Path) -> Path:
    """A TUSS table; the second term ended."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "Código do Termo;Termo;Data de início de vigência;Data de fim de vigência;Data de fim de implantação\n"
        "10101012;Consulta em consultório (no horário normal ou preestabelecido);01/01/2010;;\n"
        "10101020;Consulta em domicílio;01/01/2010;31/12/2019;28/02/2010\n",
        encoding="utf-8-sig",
    )
    return file


def table(file: Path, *extra: str) -> Path:
    """A table of wards, in Portuguese."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        "code,display,definition,parent,inactive,display:en,floor",
        "all,Alas,,,,Wards,",
        'icu,UTI,"Unidade de terapia intensiva, adulto",all,,Intensive care,3',
        "old,Ala velha,,all,true,,",
        *extra,
    )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
