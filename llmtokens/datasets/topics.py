"""The vocabulary of the synthetic set: what a story of each genre is about, and how it is told."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """One genre's words. ``heroes`` and ``deeds`` make a sentence with ``places``."""

    genre: str
    fans: str
    adjectives: list[str]
    nouns: list[str]
    heroes: list[str]
    deeds: list[str]
    places: list[str]
    themes: list[str]


def _topic(genre: str, fans: str, *lists: str) -> Topic:
    """A topic from lists written as prose, their entries separated by semicolons."""
    words = [[entry.strip() for entry in text.split(";")] for text in lists]
    return Topic(genre, fans, *words)


TOPICS = [
    _topic(
        "Sci-Fi",
        "voyages through space and machines that think",
        "Silent; Distant; Electric; Orbital; Second; Frozen",
        "Star; Signal; Engine; Colony; Horizon; Planet; Machine; Eclipse",
        "a stranded pilot; a young astronaut; a retired engineer; a lonely android; "
        "a ship's doctor",
        "repairs a failing starship; answers a signal from another planet; "
        "teaches a robot to dream; searches for a lost colony; travels back through time",
        "on the far side of the moon; aboard a drifting space station; "
        "in a city run by machines; at the edge of the galaxy; on a frozen planet",
        "artificial minds; first contact; the loneliness of space; science and its price",
    ),
    _topic(
        "Western",
        "gunslingers, ranches and wide plains",
        "Dusty; Lonesome; Red; Crooked; Long; Burning",
        "Canyon; Saddle; Trail; Sheriff; Prairie; Stagecoach; Ranch; Spur",
        "an ageing sheriff; a drifting gunslinger; a rancher's daughter; a bounty hunter; "
        "a cattle driver",
        "hunts a band of outlaws; defends a small ranch; escorts a stagecoach; "
        "rides out for a last duel; drives a herd to the railway",
        "across the open prairie; in a dusty frontier town; along the border; "
        "in a red desert canyon; near an abandoned gold mine",
        "frontier justice; outlaws and honour; land and cattle; the end of the old West",
    ),
    _topic(
        "Romance",
        "love letters, weddings and second chances",
        "Tender; First; Summer; Secret; Golden; Last",
        "Kiss; Letter; Wedding; Garden; Promise; Waltz; Heart; Spring",
        "a shy florist; a widowed pianist; a travelling painter; a hopeful bride; "
        "a young schoolteacher",
        "falls in love with a stranger; answers a misdirected love letter; "
        "meets an old sweetheart again; calls off a wedding; waits for a lover's return",
        "in a quiet seaside village; in springtime Paris; at a country wedding; "
        "in a rose garden; during one long summer",
        "first love; marriage and longing; second chances; desire and devotion",
    ),
    _topic(
        "Horror",
        "haunted houses and things in the dark",
        "Hollow; Pale; Buried; Whispering; Cursed; Midnight",
        "Grave; Scream; Cellar; Shadow; Crypt; Demon; Fog; Asylum",
        "a sleepless nurse; a grieving mother; a sceptical priest; a group of teenagers; "
        "a night watchman",
        "wakes an ancient demon; hears voices behind the walls; is stalked by a masked killer; "
        "opens a sealed crypt; spends a night with the dead",
        "in an abandoned asylum; in a haunted farmhouse; beneath a village graveyard; "
        "in a fog-bound forest; in a cursed mansion",
        "possession and madness; vengeful ghosts; the fear of the dark; blood and old curses",
    ),
    _topic(
        "Crime",
        "heists, detectives and the mob",
        "Dirty; Double; Cold; Stolen; Rainy; Guilty",
        "Alibi; Heist; Badge; Verdict; Racket; Informer; Vault; Witness",
        "a weary detective; an ageing safecracker; a corrupt policeman; a mob accountant; "
        "a public prosecutor",
        "plans one last bank robbery; tracks a careful murderer; betrays a crime family; "
        "hides a key witness; uncovers a bribe",
        "in the back streets of Chicago; in a city of nightclubs; down at the docks; "
        "inside a maximum security prison; during a heat wave downtown",
        "loyalty among thieves; guilt and evidence; police corruption; money and murder",
    ),
    _topic(
        "Comedy",
        "farce, bad luck and silly misunderstandings",
        "Clumsy; Merry; Crazy; Unlucky; Perfect; Mad",
        "Roommate; Vacation; Butler; Reunion; Mixup; Neighbour; Holiday; Boss",
        "a hapless waiter; a pair of bickering brothers; an unlucky salesman; "
        "a bored secretary; a fake butler",
        "wrecks a family holiday; pretends to be a millionaire; swaps places with the boss; "
        "loses a winning lottery ticket; ruins a class reunion",
        "at a chaotic office party; in an overbooked hotel; on a package tour; "
        "in a suburban cul-de-sac; at a very expensive restaurant",
        "mistaken identity; office pranks; awkward families; the comedy of manners",
    ),
    _topic(
        "War",
        "soldiers, battles and what comes after",
        "Broken; Iron; Forgotten; Northern; Final; Bitter",
        "Regiment; Trench; Bridge; Battalion; Siege; Armistice; Front; Convoy",
        "a frightened recruit; a field surgeon; a captured general; a resistance fighter; "
        "a bomber crew",
        "holds a bridge against an army; carries orders across the trenches; "
        "escapes from a prison camp; smuggles refugees past the enemy; "
        "returns from the battlefield",
        "behind enemy lines; in the winter of 1944; on the western front; in a besieged city; "
        "aboard a convoy under fire",
        "courage under fire; comrades and sacrifice; occupation and resistance; "
        "the cost of victory",
    ),
    _topic(
        "Fantasy",
        "dragons, magic and old kingdoms",
        "Enchanted; Hidden; Elder; Silver; Shattered; Winged",
        "Dragon; Crown; Sorcerer; Tower; Sword; Kingdom; Rune; Oracle",
        "an orphaned prince; an apprentice sorcerer; an exiled queen; a talking fox; "
        "a reluctant knight",
        "seeks a forgotten sword; breaks a wizard's spell; tames the last dragon; "
        "guards a magic mirror; crosses the realm of giants",
        "in a kingdom under enchantment; in an elven forest; at the top of a crystal tower; "
        "beyond the misty mountains; in a castle of living stone",
        "prophecy and magic; dragons and kings; a quest against evil; the old gods",
    ),
    _topic(
        "Musical",
        "songs, stages and dancing shoes",
        "Dancing; Swinging; Velvet; Bright; Blue; Roaring",
        "Melody; Chorus; Stage; Tango; Trumpet; Spotlight; Cabaret; Encore",
        "a washed-up crooner; a chorus girl; a jazz trumpeter; a stubborn choreographer; "
        "a street singer",
        "auditions for a Broadway show; writes a song overnight; leads a dance troupe; "
        "plays in a smoky jazz club; saves a theatre from closing",
        "on the stages of Broadway; in a New Orleans nightclub; in a touring cabaret; "
        "at a rundown music hall; on opening night",
        "song and dance; fame and the stage; rhythm and rivalry; life in show business",
    ),
    _topic(
        "Documentary",
        "true stories of nature and people",
        "True; Living; Vanishing; Deep; Untold; Unseen",
        "River; Archive; Glacier; Harvest; Reef; Migration; Portrait; Forest",
        "a marine biologist; an investigative reporter; a village of fishermen; "
        "a climate scientist; a wildlife photographer",
        "follows the migration of whales; records a vanishing language; "
        "documents a year of drought; interviews former miners; films the melting ice",
        "along the Amazon river; on a coral reef; in the Arctic; in the national archives; "
        "in a farming community",
        "nature and climate; politics and truth; work and memory; animals in the wild",
    ),
]

# The two ways of telling, each from one end of a scale of taste to the other.
MOODS = (["bleak", "grim", "haunting", "sombre"], ["warm", "playful", "hopeful", "good-natured"])
PACES = (
    ["in long, quiet takes", "with unhurried patience", "slowly and with few words"],
    ["at a breathless pace", "in short, restless scenes", "with barely a pause"],
)
