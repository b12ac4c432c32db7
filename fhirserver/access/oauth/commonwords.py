"""Words that guessing programs try first, alone or with digits and signs around them; two of them in a row as well.

Written down by hand for a Portuguese- and English-speaking clinic: what a list of leaked passwords shows once digits
and signs are taken off, plus names of places, clubs, months and of a clinic's own things.
"""

from __future__ import annotations

_TEXT = """
password passwort passwords passphrase senha senhas minhasenha senhaforte senhasegura contrasena secret secreto
segredo admin administrator administrador administracao root user usuario guest convidado teste test testing tester
default padrao login logon entrar acesso access master mestre chefe gerente manager sistema system server servidor
welcome bemvindo bemvinda benvindo letmein deixameentrar opensesame changeme mudar trocar mudarsenha trocarsenha
temp temporary temporario provisoria provisorio inicial initial primeira primeiro nova novo new computer computador
internet google facebook instagram whatsapp youtube microsoft windows apple iphone android samsung iloveyou teamo
euteamo amor love lovely amorzinho meuamor vida minhavida linda lindo querida querido baby bebe princess princesa
prince principe sunshine sol lua estrela star flower flor rosa butterfly borboleta angel anjo jesus cristo
jesuscristo deus senhor fe deusefiel deusemais jesusteama maria aparecida nossasenhora santa santo god familia
family mae pai mother father filho filha son daughter irmao irma avo vovo football futebol soccer baseball
basketball basquete hockey volei flamengo corinthians palmeiras santos saopaulo vasco gremio internacional cruzeiro
atletico botafogo fluminense bahia sport fortaleza ceara barcelona realmadrid chelsea arsenal liverpool manchester
juventus brasil brazil portugal lisboa porto benfica sporting riodejaneiro rio belohorizonte curitiba portoalegre
salvador recife manaus belem goiania campinas brasilia london paris newyork america canada england dragon dragao
monkey macaco tiger tigre lion leao cachorro gato dog cat dogs cats horse cavalo passaro bird panda batman superman
spiderman homemaranha starwars pokemon naruto goku minecraft fortnite matrix ninja shadow hunter killer soldier
warrior guerreiro legend lenda king rei queen rainha champion campeao winner michael jordan jennifer ashley daniel
jessica thomas robert charlie andrew joshua matthew nicole michelle george joao jose antonio francisco carlos paulo
pedro lucas luiz marcos gabriel rafael marcelo bruno eduardo felipe rodrigo ana francisca antonia adriana juliana
marcia fernanda patricia aline sandra camila amanda bruna leticia julia silva souza oliveira pereira lima carvalho
ferreira ribeiro almeida costa gomes martins january february march april june july august september october
november december monday tuesday wednesday thursday friday saturday sunday janeiro fevereiro marco abril maio junho
julho agosto setembro outubro novembro dezembro segunda terca quarta quinta sexta sabado domingo summer winter
spring autumn verao inverno primavera outono natal christmas anonovo feliz happy birthday aniversario carnaval
hospital hospitals clinica clinic clinicas saude health healthcare doctor doutor doutora medico medica enfermeira
enfermeiro nurse paciente patient patients recepcao reception secretaria consulta consultorio agenda exame
laboratorio prontuario medicina medicine dentista farmacia fhir fhirserver smartonfhir demo demonstracao example
exemplo sample company empresa trabalho work escritorio office school escola university universidade faculdade
chocolate cookie coffee cafe cerveja beer pizza banana orange laranja morango cheese queijo pepper purple roxo blue
azul green verde yellow amarelo black preto white branco silver prata gold ouro red vermelho freedom liberdade
whatever qualquer nothing nada hello ola oi goodbye tchau please porfavor obrigado obrigada trustno trustnoone
mustang ferrari porsche mercedes corvette harley yamaha honda toyota qwerty qwertyuiop asdf asdfgh asdfghjkl zxcvbn
zxcvbnm azerty qazwsx qazwsxedc abc abcd abcdef abcabc aaaa um dois tres quatro cinco seis sete oito nove dez one
two three four five six seven eight nine ten money dinheiro rico rich lucky sorte music musica guitar guitarra rock
metal hiphop samba correct battery staple correcthorsebatterystaple
"""
COMMON = frozenset(_TEXT.split())
