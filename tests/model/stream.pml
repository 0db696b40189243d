/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - model of a stream of the embedded store: who owns it, what a replay
 * finds, what power loss and failed syncs leave. Kept true to repo/stream_*.c;
 * when the rules change, they change here first.
 *
 * A file has P cells of one record each. What is written is in memory; a cell
 * reaches the disk when its file is synced, or at power loss if it likes, whole
 * or torn. A sync that fails leaves cells that memory holds and the disk never
 * gets. Names of files are in memory until their directory is synced. An owner
 * may be killed between any two steps (memory stays) and sleep for as long as
 * it likes.
 *
 * Sequence numbers: S(e, n), epoch above number. A takeover record stands at
 * the first gap and ends its epoch; the next record is number 0 of the next.
 *
 * stream.sh searches it, and shows that each of these variants loses something:
 *
 *   NO_LOCK       the right to write is not exclusive
 *   NO_SETTLE     a new owner builds on what is in memory
 *   SYNC_AGAIN    a sync that failed is tried again and then believed
 *   ACK_LATE      a sync acknowledges what came while it was at work, too
 *   NO_EPOCHS     a new owner goes on in the epoch, and cuts nothing off
 *   ROLL_FIRST    a new file is begun before the old one is synced
 *   NO_NAMES      a new owner trusts names that it did not sync
 *   TRIM_FIRST    files go before the fold's position is published
 *   TRIM_LAST     ... and the one that records are appended to
 *   LATE_CLAIM    a record claims what was appended before it as synced
 */
#ifndef OWNERS
#ifdef NO_LOCK
#define OWNERS 2
#else
#define OWNERS 1 /* one after the other: the lock makes two no different */
#endif
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LOSSES
#define LOSSES 1 /* power losses */
#endif
#ifndef FAILS
#define FAILS 1 /* syncs that fail */
#endif
#ifndef FOLDS
#define FOLDS 1
#endif
#ifndef E
#define E 3 /* epochs there is room for */
#endif
#ifndef W
#define W 2 /* writes in an epoch */
#endif
#define P 2
#define F 5
#define N (W + 1)

#define S(e, n) ((e) * N + (n))
#define EPOCH(s) ((s) / N)
#define NUMBER(s) ((s) % N)
/* a cell: 0 nothing, else a record of sequence number s, or half of one */
#define DATA(s) (1 + 2 * (s))
#define TAKE(s) (2 + 2 * (s))
#define TORN 255
#define SEQ(v) (((v) - 1) / 2)
#define IS_TAKE(v) ((v) % 2 == 0)
#ifdef NO_EPOCHS
#define NEXT(v) (SEQ(v) + 1)
#else
#define NEXT(v) (IS_TAKE(v) -> S(EPOCH(SEQ(v)) + 1, 0) : SEQ(v) + 1)
#endif

byte mem[F * P], disk[F * P];
bool stuck[F * P];         /* memory thinks that the disk has it */
byte first[F];             /* of a file, in its header */
bool there[F], named[F];   /* its name: in memory, on disk */
byte claim[E * N];         /* what a record says was synced before it */
byte from;                 /* the fold's position, in the clone document */
bool locked;
bool at_work[OWNERS], dead[OWNERS];
byte kills = KILLS, losses = LOSSES, fails = FAILS, folds = FOLDS;

/* What must hold. Writes are counted in each epoch. */
byte truth[E];             /* that belong to the stream's history */
byte acked[E];             /* of them, what a sync made last */
byte folded[E];            /* of them, what the map holds */
bool closed[E];            /* its takeover is durable */

hidden byte r[E];          /* a replay: writes it comes to, */
hidden byte rs, rf, rp;    /* the next sequence number and its cell, */
hidden byte bad;           /* does it find damage? Within one d_step */
byte i, j;

inline clear()
{
	i = 0;
	do :: i < E -> r[i] = 0; i++ :: else -> break od;
	i = 0; j = 0; rs = 0; rf = 0; rp = 0; bad = false
}

/* The next cell of the last file, F * P if there is no file. */
inline replay()
{
	i = 0; do :: i < E -> r[i] = folded[i]; i++ :: else -> break od;
	bad = false; rp = 0; rs = 0;
	/* the last file that begins at or before the fold's position */
	rf = F; i = 0;
	do
	:: i < F -> if :: there[i] && first[i] <= from -> rf = i :: else fi; i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < F -> bad = bad || (rf == F && (there[i] || from > 0)); i++
	:: else -> break
	od;
	if
	:: rf < F ->
		rs = first[rf];
		do
		:: rp < P && mem[rf * P + rp] != 0 &&
			mem[rf * P + rp] != TORN && SEQ(mem[rf * P + rp]) == rs ->
			i = mem[rf * P + rp];
			if
			:: !IS_TAKE(i) && rs >= from -> r[EPOCH(rs)]++
			:: else
			fi;
			rs = NEXT(i);
			rp++
		:: else ->
			/* is there a file behind it? */
			j = F; i = rf + 1;
			do
			:: i < F -> if :: there[i] && j == F -> j = i :: else fi; i++
			:: else -> break
			od;
			i = rp;
			do
			:: i < P ->
				/* behind the end: nothing; or, of the last
				 * file, nothing that says it was synced */
				bad = bad || (j < F && mem[rf * P + i] != 0) ||
					(j == F && mem[rf * P + i] != 0 &&
					 mem[rf * P + i] != TORN && i > rp &&
					 claim[SEQ(mem[rf * P + i])] > rs);
				i++
			:: else -> break
			od;
			if
			:: j == F -> break
			:: else ->
				bad = bad || j != rf + 1 || first[j] != rs;
				if :: bad -> break :: else fi;
				rf = j; rp = 0
			fi
		od
	:: else
	fi;
	bad = bad || EPOCH(rs) < EPOCH(from)
}

/* A replay by anybody, at any time: never damage, never less than was promised,
 * and no record of an epoch that was closed without it. */
inline check()
{
	replay();
	assert(!bad);
	i = 0;
	do
	:: i < E ->
		assert(r[i] >= acked[i]);
		assert(r[i] <= truth[i]);
		assert(!closed[i] || r[i] == truth[i]);
		i++
	:: else -> break
	od;
	clear()
}

/* Its cells reach the disk, but for those that memory does not send. */
inline sync_file(f)
{
	i = 0;
	do
	:: i < P ->
		if :: !stuck[f * P + i] -> disk[f * P + i] = mem[f * P + i] :: else fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* ... or it fails, and some of them never do. */
inline fail_file(f)
{
	i = 0;
	do
	:: i < P ->
		if
		:: mem[f * P + i] != disk[f * P + i] -> stuck[f * P + i] = true
		:: disk[f * P + i] = mem[f * P + i]
		fi;
		i++
	:: i >= P -> break
	od;
	i = 0
}

inline put(f, p, v)
{
	mem[f * P + p] = v; stuck[f * P + p] = false
}

inline sync_names()
{
	i = 0; do :: i < F -> named[i] = there[i]; i++ :: else -> break od; i = 0
}

/* The process of whoever is at work ends, and with it the lock. */
inline die()
{
	i = 0;
	do :: i < OWNERS -> dead[i] = at_work[i]; i++ :: else -> break od;
	i = 0;
	locked = false
}

/* Everybody dies; of what was not synced some is there and some is not. */
inline lose_power()
{
	i = 0;
	do
	:: i < F * P ->
		if
		:: mem[i] != disk[i] && !stuck[i] -> disk[i] = mem[i]
		:: mem[i] != disk[i] && !stuck[i] && mem[i] != 0 -> disk[i] = TORN
		:: true
		fi;
		mem[i] = disk[i]; stuck[i] = false; i++
	:: i >= F * P -> break
	od;
	i = 0;
	do
	:: i < F -> if :: named[i] = there[i] :: there[i] = named[i] fi; i++
	:: i >= F -> break
	od;
	i = 0;
	do
	:: i < F -> j = 0;
		do
		:: j < P -> if :: !there[i] -> mem[i * P + j] = 0;
				disk[i * P + j] = 0 :: else fi; j++
		:: else -> break
		od;
		if :: !there[i] -> first[i] = 0 :: else fi;
		i++
	:: else -> break
	od;
	die();
	j = 0
}

/* A file is made under another name, synced, renamed; then its name is. */
inline make_file(f, s)
{
	d_step {
		first[f] = s; there[f] = true; i = 0;
		do
		:: i < P -> put(f, i, 0); disk[f * P + i] = 0; i++
		:: else -> break
		od;
		i = 0
	};
	d_step { sync_names() }
}

/* The last file's cells from P on are cut off. */
inline cut(f, p)
{
	i = p;
	do :: i < P -> put(f, i, 0); i++ :: else -> break od;
	i = 0
}

/* What the replay came to is all there is, and is ours. */
inline hold()
{
	replay();
	assert(!bad);
	j = 0;
	do
	:: j < E ->
		assert(r[j] >= acked[j]);
		assert(!closed[j] || r[j] == truth[j]);
		truth[j] = r[j];
		j++
	:: else -> break
	od;
	clear()
}

inline publish()
{
	from = s;
	i = 0;
	do :: i < E -> folded[i] = truth[i]; i++ :: else -> break od;
	i = 0
}

/* The oldest file whose records are all before SEQ, never the last. */
inline trim(seq)
{
	i = 0;
	do
	:: i + 1 < F && !there[i] -> i++
	:: else -> break
	od;
	if
	:: i + 1 < F && there[i + 1] && first[i + 1] <= seq -> there[i] = false
	:: else
	fi;
	i = 0
}

inline forget()
{
	f = 0; p = 0; s = 0; synced = 0; want = 0; failed = false; at_it = false
}

proctype owner(byte o)
{
	byte f, p, s;          /* where the next record goes, and its number */
	byte synced, want;     /* all before it is; is about to be */
	bool failed, at_it;    /* a sync failed; one is under way */
again:
	{
#ifdef NO_LOCK
	d_step { true -> at_work[o] = true; locked = true };
#else
	d_step { !locked -> at_work[o] = true; locked = true };
#endif
	/* what is in memory only is written, or forgotten */
#ifndef NO_SETTLE
	d_step {
		f = F; i = 0;
		do
		:: i < F -> if :: there[i] -> f = i :: else fi; i++
		:: else -> break
		od;
		i = 0
	}
	if
	:: f == F
	:: atomic { f < F && fails > 0 -> fails--; fail_file(f) }
		goto over
	:: d_step { f < F ->
		sync_file(f);
		do
		:: i < P -> mem[f * P + i] = disk[f * P + i];
			stuck[f * P + i] = false; i++
		:: else -> break
		od;
		i = 0 }
	fi;
#endif
	d_step { replay(); assert(!bad); f = rf; p = rp; s = rs; clear() }
	if
	:: EPOCH(s) + 1 >= E || (p == P && f + 1 >= F) -> goto over
	:: else
	fi;
	if
	:: f == F -> f = 0; make_file(0, 0)
	:: else ->
#ifndef NO_EPOCHS
		d_step { cut(f, p) };
		d_step { sync_file(f) };
#endif
#ifndef NO_NAMES
		d_step { sync_names() };
#endif
		if :: p == P -> f++; p = 0; make_file(f, s) :: else fi
	fi;
	synced = s;
#ifdef NO_EPOCHS
	d_step { hold() };
#else
	d_step { claim[s] = synced; put(f, p, TAKE(s)); p++ };
	d_step {
		sync_file(f);
		hold();
		closed[EPOCH(s)] = true;
		s = S(EPOCH(s) + 1, 0);
		synced = s
	};
#endif
	do
	/* append; in a new file when this one is full */
	:: d_step { !failed && p < P && NUMBER(s) < W ->
#ifdef LATE_CLAIM
		claim[s] = s;
#else
		claim[s] = synced;
#endif
		put(f, p, DATA(s)); p++;
		truth[EPOCH(s)] = NUMBER(s) + 1; s++ }
	:: !failed && !at_it && f + 1 < F && p > 0 &&
		((p == P && NUMBER(s) < W) || s <= from) ->
#ifndef ROLL_FIRST
		if
		:: d_step { true -> sync_file(f); synced = s }
		:: atomic { fails > 0 -> fails--; fail_file(f); failed = true }
		fi;
#endif
		if
		:: !failed -> f++; p = 0; make_file(f, s)
		:: else
		fi
	/* a sync takes its time, and others append meanwhile */
	:: d_step { !failed && !at_it && synced < s ->
		at_it = true; want = s;
#ifdef ACK_LATE
		sync_file(f)
#endif
		}
	:: d_step { at_it ->
#ifdef ACK_LATE
		want = s;
#else
		sync_file(f);
#endif
		acked[EPOCH(want)] = NUMBER(want);
		synced = want; want = 0; at_it = false }
	:: atomic { at_it && fails > 0 ->
		fails--; fail_file(f); want = 0; at_it = false;
#ifndef SYNC_AGAIN
		failed = true
#endif
		}
	/* a fold; what is before it goes, file by file */
#ifdef TRIM_FIRST
	:: folds > 0 -> folds--; d_step { trim(s) }; d_step { publish() }
#else
	:: d_step { folds > 0 -> folds--; publish() }
	:: d_step { from > 0 -> trim(from) }
#endif
#ifdef TRIM_LAST
	:: d_step { s <= from -> there[f] = false }
#endif
	:: !at_it -> break
	od;
over:	skip;
	d_step { at_work[o] = false; locked = false; forget() };
	goto again
	} unless { dead[o] };
	d_step { at_work[o] = false; dead[o] = false; forget() };
	goto again
}

proctype fate()
{
	do
	:: d_step { kills > 0 && locked -> kills--; die() }
	:: atomic { losses > 0 -> losses--; lose_power() }
	od
}

/* Somebody who looks without the lock. */
proctype look()
{
	do :: d_step { true -> check() } od
}

init {
	atomic {
		run fate();
		run look();
		i = 0;
		do :: i < OWNERS -> run owner(i); i++ :: else -> break od;
		i = 0
	}
}
