CREATE TABLE invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    issued_on date NOT NULL
);
