"""The rows of the example shop: the same ones for the same scale and seed, on every machine.

Every choice comes from ``random.Random(...).random()``, the one method whose sequence Python promises to keep between
versions (https://docs.python.org/3/library/random.html#notes-on-reproducibility). Rows are drawn one by one as they
are asked for; only orders are held in batches, because their items and payments go into other tables.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")
Row = tuple[object, ...]

GIVEN_NAMES: Final = (
    "Anna", "Zoë", "José María", "Renée", "Jean-Luc", "Siobhán", "Łukasz", "Märta", "Giulia", "Søren", "Noémie",
    "İpek", "Jürgen", "D'Arcy", "Agnieszka", "Nils", "Chloé", "Mateusz", "Ingrid", "Pál", "Anna van der", "Ludwig von",
)  # fmt: skip
FAMILY_NAMES: Final = (
    "O'Brien", "Müller", "D'Angelo", "Nuñez", "Björk", "Kowalski", "Šimić", "Çelik", "Lefèvre", "Berg", "Håkansson",
    "Wójcik", "Schäfer-Groß", "Rossi", "N'Diaye", "Petit", "Lindström", "García", "Nowak", "Fitzgerald", "Ağaoğlu",
)  # fmt: skip
STREETS: Final = ("Hauptstraße", "Rue de l'Église", "Ulica Długa", "Storgatan", "St John's Road", "Via dell'Orso")
CITIES: Final = (
    ("Berlin", "DE", "10115"), ("Lyon", "FR", "69001"), ("Gdańsk", "PL", "80-001"), ("Malmö", "SE", "211 20"),
    ("Köln", "DE", "50667"), ("Cork", "IE", "T12 W8KP"), ("L'Aquila", "IT", "67100"), ("Łódź", "PL", "90-001"),
)  # fmt: skip
CATEGORIES: Final = {
    "Kitchen": ("Knives", "Pots & Pans", "Crème brûlée", "Tea"),
    "Garden": ("Tools", "Seeds", "Furniture", "Bird houses"),
    "Clothing": ("Jackets", "Children's", "Shoes", "Socks"),
    "Stationery": ("Pens", "Paper", "Calendars", "Drawing"),
    "Toys": ("Wooden", "Puzzles", "Board games", "Kites"),
    "Bath": ("Towels", "Soap", "Brushes", "Mats"),
}
ADJECTIVES: Final = ("Sturdy", "Grandmother's", "Foldable", "Blue", "Recycled", "Très chic", 'Large 12"', "Quiet")
NOUNS: Final = ("kettle", "notebook", "jacket", "jigsaw", "watering can", "towel", "penknife", "lantern", "teapot")
COLOURS: Final = ("red", "grün", "bleu", "żółty", "off-white", None)
TAGS: Final = ("new", "gift", "sale", "bestseller", "père & fils", "last, but not least", 'the "classic"')
SENTENCES: Final = (
    "Arrived two days early and well packed.",
    "It's smaller than I thought, but it does what it should.",
    "The colour isn't the one in the picture.",
    "Ma mère l'adore, on en a déjà commandé un deuxième.",
    "Nach drei Wochen täglicher Benutzung wie neu.",
    "I wrote to customer service and had an answer within the hour.",
    "The lid\tdoesn't close; a drop of oil helped.",
    "100% cotton, says the label - C:\\shop\\labels says 98%.",
    "Polecam każdemu, kto szuka prezentu.",
    "Would buy again.",
)
WORDS: Final = tuple(word for sentence in SENTENCES for word in sentence.split(" "))
NOTES: Final = ("Please ring at Müller's, 2nd floor.", "Gift, no invoice in the parcel!", "Leave it\nbehind the gate")
PROVIDERS: Final = ("card", "card", "card", "paypal", "sepa")
# As many times as it is likely.
STATUSES: Final = ("delivered",) * 14 + ("shipped", "shipped", "paid", "pending", "cancelled", "refunded")

DAY: Final = 86_400
_CLOCK: Final = tuple(f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60))
USERS_FROM: Final = int(datetime(2022, 1, 1, tzinfo=UTC).timestamp())
USERS_DAYS: Final = 900
# When everybody was asked for an address: after the last of these users came, before the first of these orders.
ADDRESSES_FROM: Final = USERS_FROM + USERS_DAYS * DAY
ADDRESSES_DAYS: Final = 10
# Orders imported from the shop's old system: no quarter of their own, so they land in the DEFAULT partition.
IMPORTED_FROM: Final = int(datetime(2024, 7, 1, tzinfo=UTC).timestamp())
IMPORTED_DAYS: Final = 180
IMPORTED_SHARE: Final = 0.01
# Ends before the last quarter does, so that later orders still find room in it.
ORDERS_FROM: Final = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
ORDERS_DAYS: Final = 690
# Every fifth user never gave an address; the primary address of the others follows from the user's id.
USERS_PER_ADDRESS_GAP: Final = 5
USERS_PER_BILLING_ADDRESS: Final = 20
WAREHOUSES: Final = ("berlin", "lyon", "gdansk")
# Baskets held in memory at a time: enough to keep the number of COPY statements small, about 5 MB.
BATCH: Final = 2_000


class Draw:
    """A stream of random choices, the same for the same seed and name."""

    __slots__ = ("share",)

    def __init__(self, seed: int, name: str) -> None:
        self.share: Callable[[], float] = random.Random(f"{seed}/{name}").random

    def below(self, limit: int) -> int:
        """Return a whole number from 0 to limit - 1."""
        return int(self.share() * limit)

    def chance(self, probability: float) -> bool:
        """Return true with the given probability (0 to 1)."""
        return self.share() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(self.share() * len(choices))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shop:
    """How much to generate, and from which seed."""

    seed: int
    users: int
    products: int
    orders: int

    @classmethod
    def of_scale(cls, scale: float, *, seed: int) -> Shop:
        """Return the shop of a scale: 1.0 is about 210,000 rows over all tables."""
        return cls(
            seed=seed,
            users=max(10, round(20_000 * scale)),
            products=max(5, round(2_000 * scale)),
            orders=max(20, round(40_000 * scale)),
        )


class Basket(NamedTuple):
    """One order as the rows of three tables; a tuple, because a frozen dataclass costs four times as much to make."""

    order: Row
    items: tuple[Row, ...]
    payment: Row | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Season:
    """A stretch of orders, one every ``step`` seconds (jittered within the step)."""

    first_order: int
    orders: int
    start: int
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Market:
    """Who buys what, and when.

    Attributes:
        seed: Of every choice, together with the name.
        name: Tells markets of one seed apart.
        seasons: When orders come in.
        goods: Product ids with their prices in cents.
        customer: Draws a user id with the id of an address, if there is one.
        first_number: orders.order_number of the first order.
        first_item: Id of the first row of order_items.
        first_payment: Id of the first row of payments.
    """

    seed: int
    name: str
    seasons: tuple[Season, ...]
    goods: tuple[tuple[int, int], ...]
    customer: Callable[[Draw], tuple[int, int | None]]
    first_number: int = 100_001
    first_item: int = 1
    first_payment: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table's columns in the order of its rows, which are drawn while they are copied."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Row]


def shop_tables(shop: Shop) -> Iterator[Table]:
    """Yield every table of the shop, referenced ones first; orders, order_items and payments come in many parts."""
    yield Table(name="users", columns=USER_COLUMNS, rows=_users(shop))
    yield Table(name="addresses", columns=ADDRESS_COLUMNS, rows=_addresses(shop))
    yield Table(name="categories", columns=("id", "parent_id", "slug", "name"), rows=_categories())
    yield Table(name="products", columns=PRODUCT_COLUMNS, rows=_products(shop))
    yield Table(name="stock_levels", columns=STOCK_COLUMNS, rows=_stock_levels(shop))
    yield from market_tables(_opening_market(shop))
    yield Table(name="reviews", columns=REVIEW_COLUMNS, rows=_reviews(shop))


def market_tables(market: Market) -> Iterator[Table]:
    """Yield orders, order_items and payments, again and again, a batch of baskets at a time."""
    baskets = _baskets(market)
    for first in baskets:
        batch: list[Basket] = []
        rows = _remember(itertools.chain((first,), itertools.islice(baskets, BATCH - 1)), batch)
        yield Table(name="orders", columns=ORDER_COLUMNS, rows=rows)
        items = itertools.chain.from_iterable(basket.items for basket in batch)
        yield Table(name="order_items", columns=ITEM_COLUMNS, rows=items)
        payments = (basket.payment for basket in batch if basket.payment)
        yield Table(name="payments", columns=PAYMENT_COLUMNS, rows=payments)


def _remember(baskets: Iterable[Basket], batch: list[Basket]) -> Iterator[Row]:
    """Orders of baskets drawn while they are copied, so that the server works at the same time."""
    for basket in baskets:
        batch.append(basket)
        yield basket.order


USER_COLUMNS: Final = (
    "id", "email", "given_name", "family_name", "password_digest", "role", "phone", "birth_date", "marketing_consent",
    "created_at", "updated_at",
)  # fmt: skip


def _users(shop: Shop) -> Iterator[Row]:
    draw = Draw(shop.seed, "users")
    for user_id in range(1, shop.users + 1):
        given_name = None if draw.chance(0.005) else draw.pick(GIVEN_NAMES)
        family_name = draw.pick(FAMILY_NAMES)
        created = USERS_FROM + draw.below(USERS_DAYS * DAY)
        yield (
            user_id,
            f"{_ascii(given_name or 'x')}.{_ascii(family_name)}.{user_id}@example.{draw.pick(('org', 'com', 'net'))}",
            given_name,
            family_name,
            hashlib.sha256(f"{shop.seed}:{user_id}".encode()).digest(),
            "staff" if draw.chance(0.002) else "customer",
            None if draw.chance(0.4) else f"+49 30 {draw.below(10_000_000):07d}",
            None if draw.chance(0.3) else date(1940, 1, 1) + timedelta(days=draw.below(24_000)),
            draw.chance(0.35),
            _timestamp(created),
            _timestamp(created + draw.below(200 * DAY)),
        )


ADDRESS_COLUMNS: Final = (
    "id", "user_id", "kind", "street", "city", "postal_code", "country_code", "is_default", "created_at",
)  # fmt: skip


def _addresses(shop: Shop) -> Iterator[Row]:
    draw = Draw(shop.seed, "addresses")
    address_ids = itertools.count(1)
    for user_id in range(1, shop.users + 1):
        if _primary_address(user_id):
            yield _address(draw, next(address_ids), user_id, kind="shipping")
    for user_id in range(1, shop.users + 1, USERS_PER_BILLING_ADDRESS):
        yield _address(draw, next(address_ids), user_id, kind="billing")


def _address(draw: Draw, address_id: int, user_id: int, *, kind: str) -> Row:
    city, country_code, postal_code = draw.pick(CITIES)
    street = f"{draw.pick(STREETS)} {1 + draw.below(250)}"
    created_at = _timestamp(ADDRESSES_FROM + draw.below(ADDRESSES_DAYS * DAY))
    return (address_id, user_id, kind, street, city, postal_code, country_code, kind == "shipping", created_at)


def _primary_address(user_id: int) -> int | None:
    return user_id - user_id // USERS_PER_ADDRESS_GAP if user_id % USERS_PER_ADDRESS_GAP else None


def _categories() -> Iterator[Row]:
    category_ids = itertools.count(1)
    for name, children in CATEGORIES.items():
        parent_id = next(category_ids)
        yield (parent_id, None, _ascii(name), name)
        for child in children:
            yield (next(category_ids), parent_id, f"{_ascii(name)}-{_ascii(child)}", child)


CATEGORY_COUNT: Final = sum(1 + len(children) for children in CATEGORIES.values())
PRODUCT_COLUMNS: Final = (
    "id", "category_id", "sku", "name", "description", "price", "tax_class", "attributes", "tags", "is_active",
    "created_at", "updated_at",
)  # fmt: skip


def _products(shop: Shop) -> Iterator[Row]:
    draw = Draw(shop.seed, "products")
    for product_id, price_cents in _goods(shop):
        created = USERS_FROM + draw.below(USERS_DAYS * DAY)
        yield (
            product_id,
            1 + draw.below(CATEGORY_COUNT),
            f"SKU-{product_id:06d}",
            f"{draw.pick(ADJECTIVES)} {draw.pick(NOUNS)}",
            None if draw.chance(0.1) else _text(draw, 2 + draw.below(6)),
            _money(price_cents),
            "reduced" if draw.chance(0.15) else "standard",
            _attributes(draw),
            [tag for tag in TAGS if draw.chance(0.15)],
            draw.chance(0.95),
            _timestamp(created),
            _timestamp(created + draw.below(400 * DAY)),
        )


def _goods(shop: Shop) -> Iterator[tuple[int, int]]:
    """Product ids with their price in cents, 0.99 to about 1,000: most are cheap.

    Multiplied, not raised to a power: the last bit of pow() is the business of each platform's C library.
    """
    draw = Draw(shop.seed, "prices")
    for product_id in range(1, shop.products + 1):
        share = draw.share()
        yield product_id, 99 + 100 * int(1_000 * share * share * share)


def _attributes(draw: Draw) -> str:
    attributes: dict[str, object] = {"colour": draw.pick(COLOURS), "weight_g": 20 + draw.below(4_000)}
    if draw.chance(0.4):
        attributes["size"] = draw.pick(("S", "M", "L", "XL"))
    if draw.chance(0.3):
        attributes["materials"] = [draw.pick(("oak", "cotton", "acier")), {"name": "tin", "recycled": draw.chance(0.5)}]
    if draw.chance(0.1):
        attributes["maker's note"] = 'He said: "don\'t boil it"'
    return json.dumps(attributes, ensure_ascii=False)


STOCK_COLUMNS: Final = ("product_id", "warehouse", "on_hand", "reserved", "counted_at")


def _stock_levels(shop: Shop) -> Iterator[Row]:
    draw = Draw(shop.seed, "stock")
    for product_id in range(1, shop.products + 1):
        for warehouse in WAREHOUSES[: 1 + draw.below(len(WAREHOUSES))]:
            on_hand = draw.below(400)
            counted_at = None if draw.chance(0.2) else _timestamp(ORDERS_FROM + draw.below(ORDERS_DAYS * DAY))
            yield (product_id, warehouse, on_hand, draw.below(on_hand // 4 + 1), counted_at)


REVIEW_COLUMNS: Final = ("id", "product_id", "user_id", "rating", "title", "body", "is_published", "created_at")


def _reviews(shop: Shop) -> Iterator[Row]:
    draw = Draw(shop.seed, "reviews")
    review_ids = itertools.count(1)
    for product_id in range(1, shop.products + 1):
        reviews = draw.below(min(10, shop.users))
        first_user = draw.below(shop.users)
        for review in range(reviews):
            # Evenly around the circle of users: nobody reviews a product twice.
            user_id = 1 + (first_user + review * (shop.users // reviews)) % shop.users
            yield _review(draw, next(review_ids), product_id, user_id)


def _review(draw: Draw, review_id: int, product_id: int, user_id: int) -> Row:
    title = None if draw.chance(0.2) else draw.pick(SENTENCES)
    body = None if draw.chance(0.15) else _rant(draw) if draw.chance(0.01) else _text(draw, 1 + draw.below(8))
    created_at = _timestamp(ORDERS_FROM + draw.below(ORDERS_DAYS * DAY))
    return (review_id, product_id, user_id, 1 + draw.below(5), title, body, draw.chance(0.9), created_at)


ORDER_COLUMNS: Final = (
    "id", "placed_at", "order_number", "user_id", "shipping_address_id", "status", "currency", "shipping_fee", "note",
    "updated_at", "total_amount",
)  # fmt: skip
ITEM_COLUMNS: Final = ("id", "order_id", "order_placed_at", "product_id", "quantity", "unit_price", "discount")
PAYMENT_COLUMNS: Final = (
    "id", "order_id", "order_placed_at", "provider", "provider_reference", "amount", "details", "captured_at",
)  # fmt: skip


def _opening_market(shop: Shop) -> Market:
    def customer(draw: Draw) -> tuple[int, int | None]:
        user_id = 1 + draw.below(shop.users)
        return user_id, _primary_address(user_id)

    imported = max(1, round(shop.orders * IMPORTED_SHARE))
    seasons = (
        _season(1, imported, start=IMPORTED_FROM, days=IMPORTED_DAYS),
        _season(1 + imported, shop.orders - imported, start=ORDERS_FROM, days=ORDERS_DAYS),
    )
    return Market(seed=shop.seed, name="opening", seasons=seasons, goods=tuple(_goods(shop)), customer=customer)


def _season(first_order: int, orders: int, *, start: int, days: int) -> Season:
    return Season(first_order=first_order, orders=orders, start=start, step=max(1, days * DAY // orders))


def _baskets(market: Market) -> Iterator[Basket]:
    draw = Draw(market.seed, market.name)
    numbers = itertools.count(market.first_number)
    item_ids = itertools.count(market.first_item)
    payment_ids = itertools.count(market.first_payment)
    for season in market.seasons:
        for index in range(season.orders):
            placed = season.start + index * season.step + draw.below(season.step)
            order_id, placed_at, status = season.first_order + index, _timestamp(placed), draw.pick(STATUSES)
            items, items_cents = _items(draw, market.goods, order_id, placed_at, item_ids)
            fee_cents = 0 if draw.chance(0.3) else 490
            total = _money(fee_cents + items_cents)
            user_id, address_id = market.customer(draw)
            note = draw.pick(NOTES) if draw.chance(0.05) else None
            updated_at = _timestamp(placed + draw.below(9 * DAY))
            order = (
                order_id, placed_at, next(numbers), user_id, address_id, status, "EUR", _money(fee_cents), note,
                updated_at, total,
            )  # fmt: skip
            is_online = status != "pending" and draw.chance(0.5)
            captured_at = None if status == "cancelled" else updated_at
            payment = _payment(draw, next(payment_ids), order_id, placed_at, total, captured_at) if is_online else None
            yield Basket(order, items, payment)


def _items(
    draw: Draw, goods: Sequence[tuple[int, int]], order_id: int, placed_at: str, item_ids: Iterator[int]
) -> tuple[tuple[Row, ...], int]:
    """One to four items and what they cost together, in cents."""
    items: list[Row] = []
    cents = 0
    for _ in range(1 + draw.below(4)):
        product_id, price = draw.pick(goods)
        quantity = 1 + draw.below(3)
        discount = price * quantity // 10 if draw.chance(0.1) else 0
        cents += price * quantity - discount
        items.append((next(item_ids), order_id, placed_at, product_id, quantity, _money(price), _money(discount)))
    return tuple(items), cents


def _payment(draw: Draw, payment_id: int, order_id: int, placed_at: str, amount: str, captured_at: str | None) -> Row:
    provider = draw.pick(PROVIDERS)
    reference = f"{provider}_{order_id:08x}{draw.below(1 << 32):08x}"
    return (payment_id, order_id, placed_at, provider, reference, amount, _payment_details(draw, provider), captured_at)


def _payment_details(draw: Draw, provider: str) -> str | None:
    if provider == "paypal":
        return None
    kind = "iban_last4" if provider == "sepa" else "last4"
    return json.dumps({kind: f"{draw.below(10_000):04d}", "attempts": 1 + draw.below(3), "3ds": draw.chance(0.7)})


def _timestamp(epoch_seconds: int) -> str:
    day, second = divmod(epoch_seconds, DAY)
    return f"{_day(day)} {_CLOCK[second // 60]}:{second % 60:02d}+00"


@functools.lru_cache(maxsize=4_096)
def _day(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()


@functools.lru_cache(maxsize=16_384)
def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _text(draw: Draw, sentences: int) -> str:
    return " ".join(draw.pick(SENTENCES) + ("\n\n" if draw.chance(0.1) else "") for _ in range(sentences))


def _rant(draw: Draw) -> str:
    """About ten kilobytes that compress badly, so that they are stored out of line (TOAST)."""
    return " ".join(draw.pick(WORDS) for _ in range(1_200 + draw.below(1_500)))


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
