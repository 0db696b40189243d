/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc - model of the garbage collection: backups, a clone that is folded, points
 * that are removed, and collectors, none of which waits for another or looks at
 * a clock. Kept true to repo/gc*.c, writer.c, writers.c, ingest.c and fold.c;
 * when the protocol changes, it changes here first.
 *
 * What is followed is one chunk and, with X=2, the one map that names it. Each
 * step is a change of a single document or a look at one; between two of them
 * everybody else may go on, and whoever likes stops for good: a search that
 * covers all orders covers all ends, too.
 *
 * gc.sh searches it, and shows that each of these variants loses data:
 *
 *   LOOK_AFTER      a writer asks for existence before it looks among the
 *                   condemned
 *   OLD_FENCE       a collector waits for the writers older than its first
 *                   generation, not for those older than its second
 *   FOLD_RETRY      a fold whose swap failed reads the version again and swaps
 *   FOLD_SAME_ID    a fold registers under the id of the one before
 *   FOLD_READ_AFTER a fold reads its clone's version after it registered
 *   NO_INCARNATION  a collector removes whatever is under the digest
 *   RETIRE_AFTER    a fold's old root is noted down after the swap
 *   RETIRED_ONCE    it is noted down before the swap, apart from the clone, and
 *                   a collector reads the clone, then the notes
 *   TRUST_MAP       a writer takes a map that is there for all below it
 */
#ifndef W
#define W 1 /* backups */
#endif
#ifndef D
#define D 1 /* daemons that fold the clone */
#endif
#ifndef FOLDS
#define FOLDS 1 /* of each daemon */
#endif
#ifndef C
#define C 1 /* collectors side by side */
#endif
#ifndef CYCLES
#define CYCLES 2 /* of each collector */
#endif
#ifndef X
#define X 1
#endif

#define POINTS (W + 1) /* the first one is there, each backup makes another */
#define IDS (W + D * FOLDS + 1)
#define ROOTS (D * FOLDS + 2) /* the first one, one a fold, and the empty one */
#define NOTHING (ROOTS - 1)   /* a root that does not lead to the chunk */
#if D == 0 || defined(BEGIN_EMPTY)
#define FIRST_ROOT NOTHING
#else
#define FIRST_ROOT 0
#endif

mtype = { absent, live, removed, tombstone };
mtype = { free, condemned, sweeping };

byte generation = 1;

/* documents of chunks and maps: there or not, and which incarnation */
bool there[X] = true;
byte incarnation[X] = 1;

/* their documents among the condemned */
mtype cstate[X] = free;
byte cgen[X], cinc[X];

mtype point[POINTS] = absent;

/* the clone's document: its version, its root, the roots it has let go of */
byte version = 1, root = FIRST_ROOT;
bool retired[ROOTS];

/* writers' documents: generation (0: none), version to be swapped, and whether
 * a backup has said its point's time */
byte wgen[IDS], wversion[IDS];
bool wtime[IDS];

#define REACHES(r) ((r) != NOTHING)
#define LET_GO(x)                                                              \
	cstate[x] = free;                                                      \
	cgen[x] = 0;                                                           \
	cinc[x] = 0

/* writer_begin(): register, look whether a collection began meanwhile */
inline register(id, v)
{
	g = generation;
	atomic {
		wgen[id] = g;
		wversion[id] = v;
		wtime[id] = false
	};
	do
	:: g == generation -> break
	:: atomic { g != generation -> g = generation };
	   atomic {
		if
		:: wgen[id] == 0 -> goto given_up
		:: else -> wgen[id] = g
		fi
	   }
	od;
	looks = (cstate[0] != free && cgen[0] < g) ||
		(cstate[X - 1] != free && cgen[X - 1] < g)
}

/* condemned_finish() */
inline remove_swept(x, generation_of)
{
	atomic {
		if
#ifdef NO_INCARNATION
		:: true -> there[x] = false
#else
		:: there[x] && incarnation[x] == inc -> there[x] = false
		:: else
#endif
		fi
	};
	atomic {
		if
		:: cstate[x] == sweeping && cgen[x] == generation_of &&
			cinc[x] == inc -> LET_GO(x)
		:: else
		fi
	}
}

/* writer_rely(), then store_exists_many() and store_insert_many() */
inline save_if_condemned(x)
{
	do
	:: atomic { looks && cstate[x] == condemned -> LET_GO(x) }
	:: atomic { looks && cstate[x] == sweeping -> inc = cinc[x]; whose = cgen[x] };
	   remove_swept(x, whose)
	:: !looks || cstate[x] == free -> break
	od
}
inline insert_if_absent(x)
{
	atomic {
		if
		:: there[x]
		:: !there[x] -> there[x] = true; incarnation[x]++
		fi
	}
}
inline rely(x)
{
#ifdef LOOK_AFTER
	insert_if_absent(x);
	save_if_condemned(x)
#else
	save_if_condemned(x);
	insert_if_absent(x)
#endif
}

/* chunks before the map that names them */
inline rely_on_all()
{
#if X == 1
	rely(0)
#elif defined(TRUST_MAP)
	if
	:: there[1] -> rely(1)
	:: !there[1] -> rely(0); rely(1)
	fi
#else
	rely(0);
	rely(1)
#endif
}
inline rely_on_map()
{
#if X == 2
	rely(1)
#else
	skip
#endif
}

#define ANY_LIVE                                                               \
	(point[0] == live || point[POINTS / 2] == live ||                      \
		point[POINTS - 1] == live || REACHES(root))

/* ingest(): a point of its own, from a disk or over what a live root has */
proctype backup(byte w)
{
	byte g, inc, whose;
	bool looks;

	register(w, 0);
	/* writer_aim() */
	atomic {
		if
		:: wgen[w] == 0 -> goto given_up
		:: else -> wtime[w] = true
		fi
	};
	if
	:: rely_on_all()
	:: ANY_LIVE -> if :: skip :: rely_on_map() fi
	fi;
	/* point_insert(): whichever comes first, the point or a tombstone */
	atomic {
		if
		:: point[w + 1] == absent -> point[w + 1] = live
		:: else
		fi
	};
	wgen[w] = 0;
given_up:
	skip
}

/* clone_get(): one look at the document */
inline read_clone()
{
	atomic {
		v = version;
		old = root;
		i = 0;
		do
		:: i == ROOTS -> break
		:: i < ROOTS -> listed[i] = retired[i]; i++
		od
	}
}

/* clone_swap() writes the list that was read: what a collection has taken off it
 * since, without a new version, is on it again */
inline put_back()
{
	i = 0;
	do
	:: i == ROOTS -> break
	:: i < ROOTS -> retired[i] = retired[i] || listed[i]; i++
	od
}

/* fold(): the clone's next root, by a swap of its document */
proctype folder(byte d)
{
	byte g, v, old, id, n, i, inc, whose;
	bool looks, swapped;
	bool listed[ROOTS]; /* its clone's list, as it was read */

	do
	:: n == FOLDS -> break
	:: else ->
		id = W + d * FOLDS + n;
		n++;
#ifdef FOLD_SAME_ID
		id = W;
#endif
		swapped = false;
		read_clone();
		register(id, v);
#ifdef FOLD_READ_AFTER
		read_clone();
#endif
		/* what the stream holds; what it has already; or no trace */
		byte fresh = 1 + d * FOLDS + n - 1;
		if
		:: rely_on_all()
		:: REACHES(old) -> if :: skip :: rely_on_map() fi
		:: fresh = NOTHING
		fi;
again:
#ifdef RETIRED_ONCE
		retired[old] = retired[old] || REACHES(old);
#endif
		atomic {
			if
			:: version == v ->
				version++;
				root = fresh;
				swapped = true;
#if !defined(RETIRE_AFTER) && !defined(RETIRED_ONCE)
				put_back();
				retired[old] = retired[old] || REACHES(old)
#endif
			:: else
			fi
		};
#ifdef RETIRE_AFTER
		if
		:: swapped -> retired[old] = retired[old] || REACHES(old)
		:: !swapped
		fi;
#endif
#ifdef FOLD_RETRY
		if
		:: !swapped -> read_clone(); goto again
		:: swapped
		fi;
#endif
		wgen[id] = 0;
given_up:
		skip
	od
}

/* rm: any point, at any time */
proctype remover()
{
	do
	:: atomic { point[0] == live -> point[0] = removed }
#if W > 0
	:: atomic { point[1] == live -> point[1] = removed }
#endif
#if W > 1
	:: atomic { point[2] == live -> point[2] = removed }
#endif
	od
}

/* a run that an error ended, here or anywhere: the next one begins anew */
#define MAY_STOP                                                               \
	if                                                                     \
	:: goto next_cycle                                                     \
	:: skip                                                                \
	fi

/* gc_mark() and gc_save() read every map on the way: a missing one is an error
 */
#if X == 2
#define READ_MAPS(reached)                                                     \
	if                                                                     \
	:: (reached) && !there[1] -> goto next_cycle                           \
	:: !((reached) && !there[1]) -> skip                                   \
	fi
#else
#define READ_MAPS(reached) skip
#endif

/* gc_roots_first(): removed points and retired roots are dead from here on */
inline list_first()
{
	reached = false;
	i = 0;
	do
	:: i == POINTS -> break
	:: atomic {
		i < POINTS ->
		known[i] = point[i] != absent;
		dead[i] = point[i] == removed;
		reached = reached || point[i] == live;
		i++
	   }
	od;
#ifdef RETIRED_ONCE
	old = root;
	reached = reached || REACHES(old);
	i = 0;
	do
	:: i == ROOTS -> break
	:: atomic {
		i < ROOTS ->
		gone[i] = retired[i] && i != old;
		reached = reached || (retired[i] && !gone[i]);
		i++
	   }
	od
#else
	atomic {
		reached = reached || REACHES(root);
		i = 0;
		do
		:: i == ROOTS -> break
		:: i < ROOTS -> gone[i] = retired[i]; i++
		od
	}
#endif
}

/* gc_roots_again(): what the first listing had not */
inline list_again()
{
	reached = false;
	i = 0;
	do
	:: i == POINTS -> break
	:: atomic {
		i < POINTS ->
		reached = reached || (!known[i] && (point[i] == live ||
							   point[i] == removed));
		i++
	   }
	od;
#ifdef RETIRED_ONCE
	old = root;
	reached = reached || REACHES(old);
	i = 0;
	do
	:: i == ROOTS -> break
	:: atomic {
		i < ROOTS ->
		reached = reached || (retired[i] && !gone[i]);
		i++
	   }
	od
#else
	atomic {
		reached = reached || REACHES(root);
		i = 0;
		do
		:: i == ROOTS -> break
		:: i < ROOTS ->
			reached = reached || (retired[i] && !gone[i]);
			i++
		od
	}
#endif
}

/* the same by a collector, which may die between the two */
inline finish(x, generation_of)
{
	atomic {
		if
#ifdef NO_INCARNATION
		:: true -> there[x] = false
#else
		:: there[x] && incarnation[x] == inc -> there[x] = false
		:: else
#endif
		fi
	};
	MAY_STOP;
	atomic {
		if
		:: cstate[x] == sweeping && cgen[x] == generation_of &&
			cinc[x] == inc -> LET_GO(x)
		:: else
		fi
	}
}

/* gc_condemn() */
inline condemn(x)
{
	if
	:: atomic { cstate[x] == sweeping -> inc = cinc[x]; whose = cgen[x] };
	   finish(x, whose)
	:: cstate[x] != sweeping
	fi;
	if
	:: reached ->
		atomic {
			if
			:: cstate[x] == condemned && cgen[x] < G -> LET_GO(x)
			:: else
			fi
		}
	:: atomic { !reached && there[x] -> inc = incarnation[x] };
	   atomic {
		if
		:: cstate[x] == free ||
			(cstate[x] == condemned && cgen[x] < G) ->
			cstate[x] = condemned;
			cgen[x] = G;
			cinc[x] = inc
		:: else
		fi
	   }
	:: !reached && !there[x]
	fi;
	MAY_STOP
}

inline save(x)
{
	atomic {
		if
		:: reached && cstate[x] == condemned && cgen[x] == G ->
			LET_GO(x)
		:: else
		fi
	};
	MAY_STOP
}

inline sweep(x)
{
	if
	:: atomic {
		cstate[x] == condemned && cgen[x] == G ->
		cstate[x] = sweeping;
		inc = cinc[x]
	   };
	   MAY_STOP;
	   finish(x, G)
	:: !(cstate[x] == condemned && cgen[x] == G)
	fi
}

#if X == 2
/* in either order */
#define ON_EACH(step)                                                          \
	if                                                                     \
	:: skip; step(0); step(1)                                              \
	:: skip; step(1); step(0)                                              \
	fi
#else
#define ON_EACH(step) step(0)
#endif

/* writer_give_up(): fence first, then the document */
inline give_up(id)
{
	if
	:: id >= W ->
		/* clone_fence() */
		atomic {
			if
			:: version == wversion[id] -> version++
			:: else
			fi
		};
		wgen[id] = 0
	:: id < W && wtime[id] ->
		/* point_forbid() */
		atomic {
			if
			:: point[id + 1] == absent ->
				point[id + 1] = tombstone
			:: else
			fi
		};
		wgen[id] = 0
	:: atomic { id < W && !wtime[id] -> wgen[id] = 0 }
	fi
}

/* gc() */
proctype collector()
{
	byte G, E, i, whose, inc, cycles, old;
	bool known[POINTS], dead[POINTS], gone[ROOTS], reached;

next_cycle:
	if
	:: cycles == CYCLES -> goto out
	:: else -> cycles++
	fi;
	atomic { generation++; G = generation };
	list_first();
	READ_MAPS(reached);
	ON_EACH(condemn);
	atomic { generation++; E = generation };
#ifdef OLD_FENCE
	E = G;
#endif
	/* writers_wait(): each ends, or is taken for dead, rightly or not */
	i = 0;
	do
	:: i == IDS -> break
	:: i < IDS && wgen[i] != 0 && wgen[i] < E -> give_up(i)
	:: i < IDS && (wgen[i] == 0 || wgen[i] >= E) -> i++
	od;
	list_again();
	READ_MAPS(reached);
	ON_EACH(save);
	ON_EACH(sweep);
	/* gc_bury() */
	i = 0;
	do
	:: i == POINTS -> break
	:: atomic {
		i < POINTS ->
		if
		:: dead[i] -> point[i] = tombstone
		:: else
		fi;
		dead[i] = false;
		known[i] = false;
		i++
	   }
	od;
	atomic {
		i = 0;
		do
		:: i == ROOTS -> break
		:: i < ROOTS ->
			if
			:: gone[i] -> retired[i] = false
			:: else
			fi;
			gone[i] = false;
			i++
		od
	};
	goto next_cycle;
out:
	skip
}

/* I5: whatever is live is whole */
active proctype monitor()
{
end:
	atomic {
		ANY_LIVE && !(there[0] && there[X - 1]) -> assert(false)
	}
}

init
{
	byte n = 0;

	atomic {
		point[0] = live;
		run remover();
		do
		:: n == W -> break
		:: n < W -> run backup(n); n++
		od;
		n = 0;
		do
		:: n == D -> break
		:: n < D -> run folder(n); n++
		od;
		n = 0;
		do
		:: n == C -> break
		:: n < C -> run collector(); n++
		od
	}
}
