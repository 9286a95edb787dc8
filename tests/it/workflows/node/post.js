console.log(`::notice title=post::goodbye ${process.env.STATE_name}`);
