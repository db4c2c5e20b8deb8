-- The tables of an order form, for SQLite, PostgreSQL and MariaDB.
CREATE TABLE stock (
    item   varchar(40) NOT NULL PRIMARY KEY,
    pieces integer     NOT NULL CHECK (pieces >= 0)
);
CREATE TABLE orders (
    number varchar(20) NOT NULL PRIMARY KEY,
    item   varchar(40) NOT NULL REFERENCES stock (item),
    pieces integer     NOT NULL CHECK (pieces > 0)
);
