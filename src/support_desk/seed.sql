-- A small shop, the same for every trial. Amounts are in cents, dates are ISO, "today" is a setting: no clock is read.
CREATE TABLE settings (key TEXT PRIMARY KEY, value NOT NULL);
CREATE TABLE customers (customer_id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, phone TEXT NOT NULL,
  city TEXT NOT NULL, country TEXT NOT NULL, tier TEXT NOT NULL CHECK (tier IN ('standard', 'plus')));
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, stock INTEGER NOT NULL,
  restock_on TEXT, final_sale INTEGER NOT NULL DEFAULT 0);
CREATE TABLE orders (order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers,
  placed_on TEXT NOT NULL, promised_on TEXT NOT NULL, delivered_on TEXT, tracking TEXT,
  status TEXT NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'cancelled')),
  shipping INTEGER NOT NULL, street TEXT NOT NULL, postcode TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE order_items (order_id TEXT NOT NULL REFERENCES orders, sku TEXT NOT NULL REFERENCES products,
  quantity INTEGER NOT NULL, unit_price INTEGER NOT NULL, PRIMARY KEY (order_id, sku));
CREATE TABLE payments (payment_id TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders, method TEXT NOT NULL,
  card_last4 TEXT, captured INTEGER NOT NULL, captured_on TEXT NOT NULL);
CREATE TABLE refunds (refund_id TEXT PRIMARY KEY, payment_id TEXT NOT NULL REFERENCES payments, amount INTEGER NOT NULL,
  reason TEXT NOT NULL, issued_on TEXT NOT NULL);
CREATE TABLE policies (topic TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE tickets (ticket_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers,
  order_id TEXT REFERENCES orders, topic TEXT NOT NULL, priority TEXT NOT NULL, team TEXT NOT NULL,
  status TEXT NOT NULL, opened_on TEXT NOT NULL);

INSERT INTO settings VALUES
  ('today', '2026-03-16'),
  ('archive_orders', 400000);  -- rows of the archive below: the full audit holds them all, about 600 MiB

INSERT INTO customers VALUES
  ('C-101', 'Maria Keller',    'maria.keller@example.com',   '+49 30 5550101', 'Berlin',    'DE', 'plus'),
  ('C-102', 'Jonas Brandt',    'jonas.brandt@example.com',   '+49 40 5550102', 'Hamburg',   'DE', 'standard'),
  ('C-103', 'Alex Meyer',      'alex.meyer@example.com',     '+49 89 5550103', 'Munich',    'DE', 'standard'),
  ('C-104', 'Alex Meyer',      'a.meyer77@example.org',      '+49 221 555104', 'Cologne',   'DE', 'plus'),
  ('C-105', 'Sofia Rossi',     'sofia.rossi@example.com',    '+39 02 5550105', 'Milan',     'IT', 'standard'),
  ('C-106', 'Emma Novak',      'emma.novak@example.com',     '+43 1 5550106',  'Vienna',    'AT', 'standard'),
  ('C-107', 'Emma Nowak',      'emma.nowak@example.org',     '+48 22 5550107', 'Warsaw',    'PL', 'standard'),
  ('C-108', 'Lucas Dubois',    'lucas.dubois@example.com',   '+33 1 55500108', 'Paris',     'FR', 'plus'),
  ('C-109', 'Nina Larsen',     'nina.larsen@example.com',    '+45 33 555109',  'Copenhagen','DK', 'standard'),
  ('C-110', 'Tom Becker',      'tom.becker@example.com',     '+49 711 555110', 'Stuttgart', 'DE', 'standard'),
  ('C-111', 'Ines Carvalho',   'ines.carvalho@example.com',  '+351 21 555111', 'Lisbon',    'PT', 'standard'),
  ('C-112', 'Peter Hoffmann',  'peter.hoffmann@example.com', '+49 69 5550112', 'Frankfurt', 'DE', 'standard'),
  ('C-113', 'Petra Hoffmann',  'petra.hoffmann@example.com', '+49 69 5550113', 'Frankfurt', 'DE', 'plus');

INSERT INTO products VALUES
  ('LAMP-01', 'Oak desk lamp',            4990,  41, NULL,         0),
  ('LAMP-02', 'Brass floor lamp',        18900,   0, '2026-04-02', 0),
  ('RUG-10',  'Wool rug 160x230',        24900,   6, NULL,         0),
  ('RUG-11',  'Jute runner',              5900,  18, NULL,         0),
  ('MUG-20',  'Stoneware mug, set of 4',  3200, 120, NULL,         0),
  ('KET-21',  'Gooseneck kettle',         7950,   9, NULL,         0),
  ('THR-30',  'Linen throw',              6400,  23, NULL,         0),
  ('CUS-31',  'Velvet cushion',           2850,   0, NULL,         0),
  ('VAS-40',  'Blue vase, last season',   3900,   3, NULL,         1),
  ('CHR-50',  'Rattan chair',            15900,   4, NULL,         0);

INSERT INTO orders VALUES
  ('A-1001', 'C-101', '2026-03-12', '2026-03-18', NULL,         'DP-70011', 'shipped',    490, 'Lindenweg 4',         '10115',    'Berlin',     'DE'),
  ('A-1002', 'C-101', '2026-02-20', '2026-02-27', '2026-02-26', 'DP-70002', 'delivered',  490, 'Lindenweg 4',         '10115',    'Berlin',     'DE'),
  ('A-1003', 'C-102', '2026-02-24', '2026-03-02', '2026-03-03', 'DP-70003', 'delivered',  490, 'Hafenstr. 12',        '20457',    'Hamburg',    'DE'),
  ('A-1004', 'C-103', '2026-03-01', '2026-03-06', '2026-03-05', 'DP-70004', 'delivered',  490, 'Isarweg 9',           '80331',    'Munich',     'DE'),
  ('A-1005', 'C-104', '2026-03-02', '2026-03-07', '2026-03-07', 'DP-70005', 'delivered',    0, 'Domplatz 1',          '50667',    'Cologne',    'DE'),
  ('A-1006', 'C-105', '2026-02-18', '2026-02-25', '2026-02-24', 'GL-81006', 'delivered',  890, 'Via Torino 8',        '20123',    'Milan',      'IT'),
  ('A-1007', 'C-106', '2026-03-14', '2026-03-21', NULL,         NULL,       'processing', 890, 'Ringstr. 20',         '1010',     'Vienna',     'AT'),
  ('A-1008', 'C-107', '2026-03-15', '2026-03-22', NULL,         NULL,       'processing', 890, 'ul. Prosta 5',        '00-838',   'Warsaw',     'PL'),
  ('A-1009', 'C-108', '2026-01-08', '2026-01-15', '2026-01-14', 'GL-81009', 'delivered',    0, '14 rue des Lilas',    '75011',    'Paris',      'FR'),
  ('A-1010', 'C-108', '2026-03-15', '2026-03-20', NULL,         NULL,       'processing',   0, '14 rue des Lilas',    '75011',    'Paris',      'FR'),
  ('A-1011', 'C-109', '2026-03-10', '2026-03-17', NULL,         'GL-81011', 'shipped',    890, 'Nyhavn 3',            '1051',     'Copenhagen', 'DK'),
  ('A-1012', 'C-110', '2026-03-04', '2026-03-09', '2026-03-09', 'DP-70012', 'delivered',  490, 'Schlossallee 2',      '70173',    'Stuttgart',  'DE'),
  ('A-1013', 'C-110', '2026-02-27', '2026-03-04', '2026-03-04', 'DP-70013', 'delivered',  490, 'Schlossallee 2',      '70173',    'Stuttgart',  'DE'),
  ('A-1014', 'C-111', '2026-02-10', '2026-02-19', '2026-02-18', 'GL-81014', 'delivered',  890, 'Rua Augusta 30',      '1100-048', 'Lisbon',     'PT'),
  ('A-1015', 'C-112', '2026-03-13', '2026-03-18', NULL,         NULL,       'processing', 490, 'Zeil 41',             '60313',    'Frankfurt',  'DE'),
  ('A-1016', 'C-113', '2026-03-13', '2026-03-18', NULL,         'DP-70016', 'shipped',      0, 'Mainkai 7',           '60311',    'Frankfurt',  'DE'),
  ('A-1017', 'C-102', '2026-03-14', '2026-03-19', NULL,         NULL,       'processing', 490, 'Hafenstr. 12',        '20457',    'Hamburg',    'DE'),
  ('A-1018', 'C-109', '2025-12-12', '2025-12-19', '2025-12-18', 'GL-81018', 'delivered',  890, 'Nyhavn 3',            '1051',     'Copenhagen', 'DK'),
  ('A-1019', 'C-105', '2026-02-26', '2026-03-05', '2026-03-06', 'GL-81019', 'delivered',  890, 'Via Torino 8',        '20123',    'Milan',      'IT'),
  ('A-1020', 'C-101', '2026-02-28', '2026-03-05', '2026-03-05', 'DP-70020', 'delivered',    0, 'Lindenweg 4',         '10115',    'Berlin',     'DE'),
  ('A-1021', 'C-111', '2026-02-25', '2026-03-04', '2026-03-03', 'GL-81021', 'delivered',  890, 'Rua Augusta 30',      '1100-048', 'Lisbon',     'PT');

INSERT INTO order_items VALUES
  ('A-1001', 'THR-30', 1, 6400), ('A-1001', 'MUG-20', 1, 3200),
  ('A-1002', 'LAMP-01', 1, 4990),
  ('A-1003', 'KET-21', 1, 7950),
  ('A-1004', 'CUS-31', 2, 2850),
  ('A-1005', 'THR-30', 1, 6400),
  ('A-1006', 'VAS-40', 1, 3900),
  ('A-1007', 'RUG-11', 1, 5900), ('A-1007', 'CUS-31', 1, 2850),
  ('A-1008', 'CHR-50', 1, 15900),
  ('A-1009', 'CHR-50', 1, 15900),
  ('A-1010', 'KET-21', 1, 7950),
  ('A-1011', 'LAMP-02', 1, 18900),
  ('A-1012', 'MUG-20', 2, 3200),
  ('A-1013', 'RUG-10', 1, 24900),
  ('A-1014', 'VAS-40', 1, 3900),
  ('A-1015', 'MUG-20', 1, 3200),
  ('A-1016', 'LAMP-01', 2, 4990),
  ('A-1017', 'RUG-11', 1, 5900),
  ('A-1018', 'LAMP-01', 1, 4990),
  ('A-1019', 'MUG-20', 1, 3200), ('A-1019', 'THR-30', 1, 6400),
  ('A-1020', 'CUS-31', 1, 2850),
  ('A-1021', 'LAMP-02', 1, 18900), ('A-1021', 'MUG-20', 1, 3200);

INSERT INTO payments VALUES
  ('P-5001', 'A-1001', 'card',     '1111', 10090, '2026-03-12'),
  ('P-5002', 'A-1002', 'card',     '1111',  5480, '2026-02-20'),
  ('P-5003', 'A-1003', 'paypal',   NULL,    8440, '2026-02-24'),
  ('P-5004', 'A-1004', 'card',     '4242',  6190, '2026-03-01'),
  ('P-5005', 'A-1005', 'card',     '0005',  6400, '2026-03-02'),
  ('P-5006', 'A-1006', 'card',     '8210',  4790, '2026-02-18'),
  ('P-5007', 'A-1007', 'card',     '3222',  9640, '2026-03-14'),
  ('P-5008', 'A-1008', 'transfer', NULL,   16790, '2026-03-15'),
  ('P-5009', 'A-1009', 'card',     '7770', 15900, '2026-01-08'),
  ('P-5010', 'A-1010', 'card',     '7770',  7950, '2026-03-15'),
  ('P-5011', 'A-1011', 'paypal',   NULL,   19790, '2026-03-10'),
  ('P-5012', 'A-1012', 'card',     '6051',  6890, '2026-03-04'),
  ('P-5013', 'A-1012', 'card',     '6051',  6890, '2026-03-05'),
  ('P-5014', 'A-1013', 'card',     '6051', 25390, '2026-02-27'),
  ('P-5015', 'A-1014', 'paypal',   NULL,    4790, '2026-02-10'),
  ('P-5016', 'A-1015', 'card',     '9424',  3690, '2026-03-13'),
  ('P-5017', 'A-1016', 'card',     '3237',  9980, '2026-03-13'),
  ('P-5018', 'A-1017', 'paypal',   NULL,    6390, '2026-03-14'),
  ('P-5019', 'A-1018', 'card',     '0009',  5880, '2025-12-12'),
  ('P-5020', 'A-1019', 'card',     '8210', 10490, '2026-02-26'),
  ('P-5021', 'A-1020', 'card',     '1111',  2850, '2026-02-28'),
  ('P-5022', 'A-1020', 'card',     '1111',  2850, '2026-03-01'),
  ('P-5023', 'A-1021', 'card',     '5556', 22990, '2026-02-25');

INSERT INTO refunds VALUES
  ('R-9001', 'P-5020', 3200, 'damage', '2026-03-09');

INSERT INTO policies VALUES
  ('returns', 'Rule return_window: an unwanted item may come back until 30 days after delivery. Rule final_sale: a final-sale item never comes back because it is unwanted. Refund the price of the item, not the shipping fee, to the original payment. Reason code: unwanted.'),
  ('damage', 'Rule damage_window: an item that arrived damaged, or that is not what was ordered, is refunded when it is reported within 60 days of delivery, final-sale items too. Refund the price of the item, not the shipping fee. Reason code: damage.'),
  ('duplicate_charge', 'When an order was charged twice with the same amount, refund the later payment in full. Rule no_duplicate: where there is only one payment there is nothing to refund. Reason code: duplicate_charge.'),
  ('cancellation', 'Rule already_shipped: an order can be cancelled only while it is processing. Cancel first, then refund the whole captured payment, shipping fee included. Reason code: cancelled_order.'),
  ('address_change', 'Rule already_shipped: the address can be changed only while the order is processing. Rule other_country: the country of the order cannot be changed; taxes and carrier depend on it.'),
  ('refund_limit', 'Rule supervisor_approval: a single refund above 200.00 EUR is not issued by the desk. Open a ticket with the topic refund_approval and priority high.'),
  ('privacy', 'Rule privacy: contact details, addresses and orders of a customer are given to that customer only, never to relatives, colleagues, couriers or the press. Full card numbers are not stored.');

INSERT INTO tickets VALUES
  ('T-301', 'C-109', 'A-1011', 'delivery_delay', 'normal', 'desk',      'open',   '2026-03-14'),
  ('T-302', 'C-108', 'A-1009', 'other',          'low',    'desk',      'closed', '2026-01-20'),
  ('T-303', 'C-110', 'A-1013', 'damage',         'high',   'desk',      'open',   '2026-03-13'),
  ('T-304', 'C-102', NULL,     'other',          'normal', 'desk',      'open',   '2026-03-15');

-- Last year's orders, as the archive would hand them out: every row is computed while it is read, so that a fresh database costs
-- nothing and a query that streams stays small. Two faults for an audit to find: every 4801st total is 1.00 EUR too high, and every
-- 33333rd order repeats the tracking number of the one before.
CREATE VIEW archived_orders AS
WITH RECURSIVE archive(n) AS (
  SELECT 1 UNION ALL SELECT n + 1 FROM archive WHERE n < (SELECT value FROM settings WHERE key = 'archive_orders'))
SELECT
  printf('H-%06d', n) AS order_id,
  date('2025-01-01', ((n - 1) * 365 / (SELECT value FROM settings WHERE key = 'archive_orders')) || ' days') AS placed_on,
  CASE n % 4 WHEN 0 THEN 'north' WHEN 1 THEN 'south' WHEN 2 THEN 'east' ELSE 'west' END AS region,
  990 + (n * 7919) % 24000 AS items,
  490 AS shipping,
  1480 + (n * 7919) % 24000 + (n % 4801 = 0) * 100 AS total,
  printf('XX-%08d', n - (n % 33333 = 0)) AS tracking,
  printf('%-860s', 'Packing slip of order H-' || n) AS packing_slip  -- fixed width, as the old system printed it
FROM archive;
