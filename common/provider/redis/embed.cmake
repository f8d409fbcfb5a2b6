# Writes a text file as a C string: cmake -DFROM=x.lua -DTO=x.c -DNAME=th_x -P embed.cmake
file(READ "${FROM}" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(([^,]+,){16})" "\\1\n    " bytes "${bytes}")
file(WRITE "${TO}" "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n    ${bytes}0};\n")
