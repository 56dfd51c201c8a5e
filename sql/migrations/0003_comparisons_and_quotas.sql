-- What a sync leaves to later ones: folders to be counted and compared, and what was spent of a quota.

ALTER TABLE provider_configs
    ADD COLUMN quota_spent jsonb NOT NULL DEFAULT '[]'; -- lately: [[lease epoch, units, epoch seconds of its end], ...]

ALTER TABLE folders
    ADD COLUMN check_due boolean NOT NULL DEFAULT true, -- mail came or went since
    ADD COLUMN comparison_due_at timestamptz NOT NULL   -- when all of it is compared with the server's
        DEFAULT now() + random() * interval '7 days',
    ADD COLUMN compare_link text;                       -- Graph: where such a comparison goes on
