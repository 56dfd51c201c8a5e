"""What generated mail says: people, subjects and sentences in the languages that strain a parser.

Everything is fictional, and every address lies in a domain reserved for examples (RFC 2606).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

PARAGRAPH_SENTENCES = 4


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who sends mail."""

    name: str
    address: str


@dataclass(frozen=True)
class Language:
    """Sentences, and the character sets in which mail in this language really travels."""

    charsets: tuple[str, ...]
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]

    @cached_property
    def paragraphs(self) -> Sequence[str]:
        """Every sentence at the head of a paragraph, followed by others."""
        doubled = self.sentences * (1 + PARAGRAPH_SENTENCES)
        return [
            "\n".join(doubled[first : first + stride * PARAGRAPH_SENTENCES : stride])
            for stride in (1, 2, 3)
            for first in range(len(self.sentences))
        ]

    @cached_property
    def sentence_length(self) -> float:
        """The mean, in characters."""
        return sum(map(len, self.sentences)) / len(self.sentences)


PEOPLE = (
    Person("Anna Schmidt", "anna.schmidt@example.com"),
    Person("José Ramírez", "jose.ramirez@example.org"),
    Person("Zoë Müller-Öztürk", "zoe@example.net"),
    Person("Иван Петров", "ivan.petrov@example.org"),
    Person("山田 太郎", "taro.yamada@example.com"),
    Person("王小明", "xiaoming.wang@example.net"),
    Person("Smith, John (Sales)", "john.smith@sales.example.com"),
    Person('Liam "Lee" O\'Connor', "liam.oconnor@example.org"),
    Person("", "no-reply@example.com"),
    Person("Łukasz Żółć", "lukasz@example.net"),
    Person("Amélie Lefèvre", "amelie.lefevre@example.com"),
    Person("Priya Nair", "priya@example.org"),
)

ENGLISH = Language(
    ("us-ascii", "utf-8"),
    (
        "Minutes of Tuesday's meeting",
        "Question about the quarterly figures",
        "Lunch on Thursday?",
        "Contract draft, second version",
        "Your travel plans for the conference in spring, and who is going to share the car with us",
        "[project] Build failed on main",
        "Invoice 2024-1187",
    ),
    (
        "Please find below what we agreed on, and tell me if I have missed anything.",
        "The figures for the last quarter are in, and they look better than we expected.",
        "I am out of the office until Monday, so the answer may take a day or two.",
        "Could you have a look at the second paragraph before we send it to the customer?",
        "From the station it is a ten minutes' walk; follow the river and turn left at the bridge.",
        "Thanks a lot for your quick reply.",
        "We have moved the meeting to half past three because the room was taken.",
        "There is one point left open: who pays for the licences that we no longer use?",
        "See https://www.example.com/projects/4711/status?view=full&sort=date#open for details.",
        "That works for me = no changes needed, as far as I can see.",
        "The parcel left our warehouse this morning and should arrive within two working days.",
        "If nobody objects, I am going to merge it tonight.",
    ),
)

GERMAN = Language(
    ("iso-8859-1", "windows-1252", "utf-8", "iso-8859-15"),
    (
        "Rückfrage zu Ihrer Bestellung",
        "Terminänderung: Übergabe am Freitag",
        "Grüße aus Österreich",
    ),
    (
        "Vielen Dank für Ihre Nachricht, wir melden uns in Kürze bei Ihnen.",
        "Die Prüfung ist abgeschlossen, über das Ergebnis sprechen wir nächste Woche.",
        "Könnten Sie mir die Unterlagen noch einmal schicken?",
        "Der Schlüssel liegt wie üblich beim Pförtner im Erdgeschoss.",
        "Mit freundlichen Grüßen aus Köln.",
        "Für die Änderung brauchen wir höchstens zwei Tage.",
    ),
)

FRENCH = Language(
    ("iso-8859-1", "utf-8", "windows-1252"),
    ("Réunion déplacée à jeudi", "Votre réservation est confirmée"),
    (
        "Nous vous remercions de votre réponse et restons à votre disposition.",
        "La réunion est déplacée à jeudi, même heure, même salle.",
        "Où en êtes-vous avec le rapport de l'année dernière ?",
        "Le colis a été livré à l'accueil ce matin.",
        "À bientôt, et bon courage pour la présentation.",
    ),
)

RUSSIAN = Language(
    ("koi8-r", "windows-1251", "utf-8"),
    ("Отчёт за третий квартал", "Вопрос по договору"),
    (
        "Добрый день, высылаю отчёт за третий квартал.",
        "Пожалуйста, проверьте сумму во второй строке.",
        "Встреча переносится на среду, на десять часов утра.",
        "Спасибо за быстрый ответ.",
    ),
)

JAPANESE = Language(
    ("iso-2022-jp", "shift_jis", "euc-jp", "utf-8"),
    ("会議の件について", "お見積書をお送りします"),
    (
        "いつもお世話になっております。",
        "会議は木曜日の午後三時に変更になりました。",
        "ご確認のほど、よろしくお願いいたします。",
        "添付の資料をご覧ください。",
    ),
)

CHINESE = Language(
    ("gb2312", "gb18030", "utf-8"),
    ("合同修改意见", "下周会议安排"),
    (
        "您好，附件是合同的最新版本。",
        "请在星期五之前回复。",
        "会议改到星期四下午三点。",
        "谢谢您的支持。",
    ),
)

#: Weighted as in an office that mostly writes English.
LANGUAGES = (
    *[ENGLISH] * 12,
    *[GERMAN] * 3,
    *[FRENCH] * 2,
    RUSSIAN,
    JAPANESE,
    CHINESE,
)

ATTACHMENT_NAMES = (
    ("report.pdf", "application/pdf"),
    ("Übersicht 2024.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("photo.jpg", "image/jpeg"),
    ("archive.zip", "application/zip"),
    ("Протокол.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("recording.mp3", "audio/mpeg"),
)
