"""Two languages in one query: English words of shops exchanged for Spanish ones.

Pure. Knows only the words below; a query without any of them is left out.
"""

from evaluator.offline.perturbations.inflection import plural, singular
from evaluator.offline.perturbations.perturbation import Change, QueryPerturbation

PAIRS = """
air aire|aluminum aluminio|baby bebe|bag bolsa|ball bola|bamboo bambu|bath baño|bathroom baño|battery bateria|bed cama
bench banco|big grande|black negro|blade cuchilla|blue azul|bolt perno|book libro|bottle botella|bowl tazon|box caja
brass laton|brick ladrillo|brown marron|brush cepillo|bucket cubeta|bulb bombilla|button boton|cabinet gabinete
cable cable|camera camara|candle vela|cap tapa|car coche|card tarjeta|carpet alfombra|case funda|ceiling techo
ceramic ceramica|chain cadena|chair silla|charger cargador|clean limpiar|clear transparente|clock reloj|coffee cafe
cold frio|concrete concreto|copper cobre|cordless inalambrico|corner esquina|cover cubierta|cup taza|curtain cortina
dark oscuro|deck terraza|desk escritorio|dog perro|door puerta|double doble|drain desague|drawer cajon|drill taladro
electric electrico|exterior exterior|fan ventilador|faucet grifo|fence cerca|filter filtro|fire fuego|flat plano
floor piso|flower flor|frame marco|freezer congelador|furniture muebles|game juego|garden jardin|gas gas|gate puerta
glass vidrio|gold oro|granite granito|gray gris|grass cesped|green verde|hammer martillo|handle mango|heater calentador
holder soporte|hole agujero|home casa|hook gancho|hose manguera|hot caliente|house casa|insulation aislante
iron hierro|key llave|kitchen cocina|knife cuchillo|ladder escalera|lamp lampara|large grande|laundry lavanderia
leather cuero|light luz|lighting iluminacion|lock cerradura|machine maquina|marble marmol|metal metal|mirror espejo
mount soporte|music musica|nail clavo|natural natural|oak roble|oil aceite|orange naranja|outdoor exterior|oven horno
paint pintura|panel panel|paper papel|patio patio|phone telefono|pillow almohada|pipe tubo|plant planta
plastic plastico|plate placa|pool piscina|pot olla|power energia|pump bomba|purple morado|rack estante|red rojo
refrigerator refrigerador|roof techo|room cuarto|rope cuerda|round redondo|rubber goma|rug alfombra|sand arena
saw sierra|screen pantalla|screw tornillo|seat asiento|shed cobertizo|sheet hoja|shelf estante|shoe zapato|shower ducha
silver plata|sink fregadero|small pequeño|soap jabon|solar solar|speaker altavoz|square cuadrado|stainless inoxidable
steel acero|stone piedra|storage almacenamiento|stove estufa|table mesa|tank tanque|tape cinta|tile azulejo|tire llanta
toilet inodoro|tool herramienta|towel toalla|toy juguete|tree arbol|valve valvula|vanity tocador|wall pared
washer lavadora|water agua|wheel rueda|white blanco|window ventana|wire alambre|wireless inalambrico|wood madera
yellow amarillo
"""

SPANISH = dict(pair.split() for line in PAIRS.split("\n") for pair in line.split("|") if pair)


def mixed(change: Change) -> str:
    """As many words as the strength in Spanish.

    Examples
    --------
    >>> import random
    >>> mixed(Change("garden hoses", 3, random.Random(0)))
    'jardin mangueras'
    """
    words = change.text.split()
    places = [place for place, word in enumerate(words) if singular(word.casefold()) in SPANISH]
    for place in change.chance.sample(places, min(change.strength, len(places))):
        word = words[place].casefold()
        found = SPANISH[singular(word)]
        words[place] = plural(found) if word != singular(word) else found
    return " ".join(words) if places else change.text


PERTURBATIONS = (
    QueryPerturbation("language mix", mixed, "One, two or three common words of shops are written in Spanish."),
)
